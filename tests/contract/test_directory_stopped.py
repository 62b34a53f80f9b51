# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is stopped by a signal, whose files somebody prepared, or whose listing does not end: the result says so."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.client import Client
from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.errors import AuthentikError
from ansible_collections.dirsync.authentik.plugins.module_utils._common import json_lines
from tests.sandbox.process import Sandbox
from tests.support.module import reaching, run_module
from tests.support.runner import Run
from tests.truth.whole import Whole, lines, organisation


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    path = folder / "dataset.json"
    path.write_text(json.dumps(organisation(20, 3)))
    with Sandbox(dataset=path) as sandbox:
        yield Whole(sandbox, folder)


@pytest.fixture
def whole(running):
    return running.fresh()


def made(whole):
    return len(whole.sandbox.google_state()["users"])


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_the_run_with_the_outcome_so_far(whole, tmp_path, name):
    before = made(whole)
    journal, report = tmp_path / "journal", tmp_path / "report"
    # The sixth creation takes a second: the signal comes meanwhile.
    whole.sandbox.fault("google", method="POST", path=r"/users(\?|$)", skip=5, when="before", delay_ms=1500)
    run = Run(whole, parallel=1, journal=str(journal), report_path=str(report))
    deadline = time.monotonic() + 60
    while whole.sandbox.control("GET", "google/faults"):
        assert time.monotonic() < deadline
        assert run.process.poll() is None, run.process.communicate()
        time.sleep(0.01)
    run.process.send_signal(getattr(signal, name))
    out, err = run.process.communicate(timeout=60)
    result = json.loads(out.strip().splitlines()[-1])
    assert result["failed"] is True, err
    assert (result["code"], result["status"], result["changed"]) == ("stopped", "failed", True)
    assert name in result["msg"]
    created = made(whole) - before
    assert result["counts"]["users"]["created"] == created
    assert 5 <= created < 20
    assert lines(report)[-1]["complete"] is True
    # The next run goes on with it.
    assert not any(line["event"] == "end" for line in lines(journal))


def test_a_run_ends_when_nobody_reads_its_output(whole):
    before = made(whole)
    run = Run(whole, faster=1, parallel=1, user_creations_per_second=2)
    deadline = time.monotonic() + 60
    while made(whole) < before + 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    output, errors = run.process.stdout, run.process.stderr
    assert output is not None and errors is not None
    output.close()
    run.process.wait(timeout=30)
    errors.close()
    assert made(whole) - before < 20


@pytest.mark.parametrize("option", ["journal", "report_path", "progress_path"])
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "device", "folder"])
def test_prepared_files_are_refused_at_once(whole, tmp_path, option, kind):
    path, other = tmp_path / "file", tmp_path / "other"
    other.write_text("precious")
    if kind == "link":
        path.symlink_to(other)
    elif kind == "hard link":
        os.link(other, path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    before = made(whole)
    started = time.monotonic()
    named: dict[str, Any] = {option: "/dev/full" if kind == "device" else str(path)}
    run = Run(whole, **named)
    out, err = run.process.communicate(timeout=60)
    result = json.loads(out.strip().splitlines()[-1])
    assert result["code"] == "invalid_option", (result, err)
    assert option in result["msg"]
    assert "counts" in result
    assert time.monotonic() - started < 30
    assert other.read_text() == "precious"
    assert made(whole) == before


@pytest.mark.parametrize("option", ["journal", "report_path"])
def test_one_run_at_a_time_has_a_file(whole, tmp_path, option):
    path = str(tmp_path / "file")
    named: dict[str, Any] = {option: path}
    whole.sandbox.fault("google", method="POST", path=r"/users(\?|$)", skip=3, when="before", delay_ms=4000)
    first = Run(whole, parallel=1, **named)
    deadline = time.monotonic() + 60
    while whole.sandbox.control("GET", "google/faults"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second = Run(whole, parallel=1, **named)
    refused = json.loads(second.process.communicate(timeout=60)[0].strip().splitlines()[-1])
    assert f"another run (process {first.process.pid}) is using it" in refused["msg"]
    done = json.loads(first.process.communicate(timeout=120)[0].strip().splitlines()[-1])
    assert not done.get("failed"), done
    for line in lines(path):
        assert isinstance(line, dict)


class Endless(BaseHTTPRequestHandler):
    """A server of either side whose listings never end, in the way that ``manner`` says."""

    manner = ""
    asked = itertools.count(1)

    def log_message(self, *_args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send({"access_token": "a-token-of-google", "expires_in": 3600})

    def do_GET(self):
        number = next(self.asked)
        objects = {
            "the same page": [self.one(1)],
            "known objects": [self.one(1)],
            "empty pages": [],
            "ever more": [self.one(number * 100 + index) for index in range(100)],
        }[self.manner]
        token = "again" if self.manner == "the same page" else f"token-{number}"
        pagination = {"next": number + 1, "total_pages": 10**9, "count": 10**9}
        self.send({"users": objects, "nextPageToken": token, "results": objects, "pagination": pagination})

    @staticmethod
    def one(number):
        return {"id": str(number), "pk": number, "primaryEmail": f"user-{number}@corp.example.com"}

    def send(self, answer):
        body = json.dumps(answer).encode()
        self.send_response(200)
        for name, value in {"content-type": "application/json", "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(params=["the same page", "known objects", "empty pages", "ever more"])
def endless(request):
    handler = type("Handler", (Endless,), {"manner": request.param, "asked": itertools.count(1)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_a_listing_of_google_that_does_not_end(whole, tmp_path, endless):
    url, handler = endless
    key = json.loads(Path(whole.sandbox.service_account_file).read_text())
    path = tmp_path / "key.json"
    path.write_text(json.dumps({**key, "token_uri": url + "/token"}))
    options = {
        **reaching(whole.sandbox),
        "google_api_endpoint": url,
        "service_account_file": str(path),
        "delegated_subject": "admin@corp.example.com",
        "models": ["user"],
        "max_objects": 1000,
        "queries_per_minute": 100_000,
    }
    run = run_module(options, module="google_workspace_sync")
    assert run.result["code"] == "google_listing", run.result
    assert run.result["changed"] is False
    assert "was not read to its end" in run.result["msg"]
    assert next(handler.asked) < 30


def test_a_listing_of_authentik_that_does_not_end(endless):
    url, handler = endless
    client = Client(url, "a-token")
    client.max_objects = 1000
    with pytest.raises(AuthentikError, match="was not read to its end"):
        client.get_all("core/users/", {}, what="list the users")
    assert next(handler.asked) < 30


class FullDisk:
    """The module os, with a disk that is full after so many writes."""

    def __init__(self, room):
        self.room = room

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, handle, raw):
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(handle, raw)


def test_a_journal_on_a_full_disk_stops_the_next_write(whole, tmp_path, monkeypatch):
    path = tmp_path / "journal"
    monkeypatch.setattr(json_lines, "os", FullDisk(10))
    whole.sandbox.clear_requests()
    options = {**reaching(whole.sandbox), "journal": str(path), "parallel": 1}
    run = run_module(options, module="google_workspace_sync")
    assert (run.result["code"], run.result["changed"]) == ("given_up", True)
    assert "journal %s could not be written" % path in run.result["msg"]
    writes = [item for item in whole.sandbox.google_requests() if item["method"] != "GET" and item["path"] != "/token"]
    noted = [line for line in lines(path) if line["event"] == "sent" and "/directory/" in line["path"]]
    assert 0 < len(writes) == len(noted)


def test_a_report_on_a_full_disk_stops_nothing(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "os", FullDisk(1))
    options = {**reaching(whole.sandbox), "report_path": str(tmp_path / "report"), "parallel": 1}
    run = run_module(options, module="google_workspace_sync")
    assert not run.failed, run.result
    assert run.result["counts"]["users"]["created"] > 10
    assert sum("the report is incomplete" in text for text in run.warnings) == 1
    assert not any(line.get("complete") for line in lines(tmp_path / "report"))
