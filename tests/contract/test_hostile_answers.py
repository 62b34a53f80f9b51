# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that no authentik and no Google would give: a clear error in time, in bounded memory, and no token elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.tree import ROOT

MEGABYTE = 1024 * 1024
TIMEOUT_S = 3
# The interpreter, Ansible and Google's libraries take about 80 MiB of it.
MOST_MEMORY_MIB = 300


class Hostile(BaseHTTPRequestHandler):
    """Answers everything in the way that the server's ``manner`` says."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_args: object) -> None:
        pass

    def answer(self) -> None:
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        if self.path == "/token":
            self.send(json.dumps({"access_token": "secret-access-token", "expires_in": 3600}).encode())
            return
        try:
            getattr(self, "say_" + self.server.manner)()
        except OSError:
            # The module has hung up, as it should.
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def send(self, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        self.send_response(200)
        for name, value in {"content-type": content_type, "content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def say_truncated(self) -> None:
        self.send(b'{"pk": 1, "na', content_length="500")
        self.close_connection = True

    def say_list(self) -> None:
        self.send(b"[]")

    def say_number(self) -> None:
        self.send(b"42")

    def say_deep(self) -> None:
        self.send(b"[" * 200_000 + b"]" * 200_000)

    def say_wrong_types(self) -> None:
        body = {"results": 7, "pagination": [], "pk": {}, "credentials": 1, "id": [], "primaryEmail": {}, "error": "x"}
        self.send(json.dumps(body).encode())

    def say_html(self) -> None:
        self.send(b"<!DOCTYPE html><p>Log in", "text/html")

    def say_binary(self) -> None:
        self.send(os.urandom(4096), "application/octet-stream")

    def say_large(self) -> None:
        self.send(b'{"x": "' + b"a" * 50 * MEGABYTE + b'"}')

    def say_endless(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b'{"x": "')
        until = time.monotonic() + 60
        while time.monotonic() < until:
            self.wfile.write(b"a" * MEGABYTE)

    def say_dripping(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.close_connection = True
        until = time.monotonic() + 60
        while time.monotonic() < until:
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.2)

    def say_bomb(self) -> None:
        self.send(self.server.bomb, content_encoding="gzip")

    def say_not_gzip(self) -> None:
        self.send(b"not compressed at all", content_encoding="gzip")

    def say_elsewhere(self) -> None:
        self.send_response(302)
        self.send_header("location", self.server.elsewhere + self.path)
        self.send_header("content-length", "0")
        self.end_headers()

    def say_status(self) -> None:
        self.wfile.write(b"HTTP/1.1 nonsense\r\n\r\n")
        self.close_connection = True


MANNERS = sorted(name.removeprefix("say_") for name in vars(Hostile) if name.startswith("say_"))


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hostile)
        self.manner = "list"
        self.seen: list[tuple[str, str, str]] = []
        self.elsewhere = ""
        self.bomb = b""
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def servers():
    hostile, other = Server(), Server()
    hostile.elsewhere = other.url
    # A gigabyte, in a megabyte.
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    hostile.bomb = b"".join(packer.compress(b" " * MEGABYTE) for _turn in range(1024)) + packer.flush()
    yield hostile, other
    for server in (hostile, other):
        server.shutdown()
        server.server_close()


# getrusage() counts what the parent held when it forked, so the kernel's own figure for this program is read.
RUNNER = """
import json, pathlib, re, sys
from tests.support.module import run_module
run = run_module(json.load(sys.stdin))
peak = int(re.search("VmHWM:[^0-9]*([0-9]+)", pathlib.Path("/proc/self/status").read_text()).group(1)) / 1024
print(json.dumps({"result": run.result, "output": run.output, "peak": peak}))
"""


def call(parameters):
    """Run the module in a process of its own: its result, what it printed, its peak of memory (MiB) and its seconds."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / '.build'}"},
        input=json.dumps(parameters),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": time.monotonic() - started, "errors": done.stderr}


def judged(found, token, other):
    result = found["result"]
    assert result["failed"], result
    assert result["status"] == "failed"
    assert not result["changed"]
    assert len(result["msg"]) > 40
    assert "Traceback" not in found["output"] + found["errors"]
    assert token not in found["output"]
    assert found["peak"] < MOST_MEMORY_MIB, found["peak"]
    # Reads are tried three times, with pauses between; starting Python and Google's libraries takes a second or two.
    assert found["seconds"] < 3 * TIMEOUT_S + 15, found["seconds"]
    assert other.seen == []


@pytest.mark.parametrize("manner", MANNERS)
def test_of_authentik(servers, manner):
    hostile, other = servers
    hostile.manner = manner
    token = "a-token-that-nobody-must-see"
    found = call(
        {
            "authentik_url": hostile.url,
            "authentik_token": token,
            "provider_id": 1,
            "sync_object_model": "user",
            "sync_object_id": "ada",
            "request_timeout": TIMEOUT_S,
        }
    )
    judged(found, token, other)
    assert "authentik" in found["result"]["msg"]


@pytest.fixture(scope="module")
def sandbox(sandboxes):
    with sandboxes() as running:
        yield running


@pytest.mark.parametrize("manner", MANNERS)
def test_of_google(servers, sandbox, tmp_path, manner):
    hostile, other = servers
    hostile.manner = manner
    key = json.loads(Path(sandbox.service_account_file).read_text())
    key["token_uri"] = hostile.url + "/token"
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    found = call(
        {
            "authentik_url": sandbox.authentik_url,
            "authentik_token": sandbox.authentik_token,
            "google_api_endpoint": hostile.url,
            "service_account_file": str(path),
            "delegated_subject": "admin@corp.example.com",
            "provider_id": 1,
            "sync_object_model": "user",
            "sync_object_id": "ada.example",
            "engine": "direct",
            "request_timeout": TIMEOUT_S,
        }
    )
    judged(found, sandbox.authentik_token, other)
    assert "Google" in found["result"]["msg"] or "google" in found["result"]["msg"]
    assert "secret-access-token" not in found["output"]
