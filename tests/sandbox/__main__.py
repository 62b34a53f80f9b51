# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the sandbox until it is asked to end: ``python -m tests.sandbox``, from the root of the repository."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from tests.sandbox import dataset
from tests.sandbox.server import Options, Sandbox

VERSIONS = ("2024.8.1", "2025.8.6", "2025.12.4")
EXIT_USAGE = 2
EXIT_VIOLATIONS = 3
# How often to look whether the parent process is still there.
PARENT_CHECK_S = 0.25


def main() -> int:
    """Run until a signal or the end of the parent process; returns the exit status."""
    arguments = _parser().parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        options = Options(
            dataset=dataset.load(arguments.dataset),
            authentik_version=arguments.authentik_version,
            authentik_port=arguments.authentik_port,
            google_port=arguments.google_port,
            google_only=arguments.google_only,
            google_latency_ms=arguments.google_latency_ms,
            sync_ms=arguments.sync_ms,
            answer_ms=arguments.answer_ms,
        )
        with Sandbox(options) as sandbox:
            print(json.dumps(sandbox.info), flush=True)
            if sys.stderr.isatty():
                print(_hint(sandbox.info), file=sys.stderr)
            is_orphan = _orphan_check(arguments.parent_pid)
            while not stop.wait(PARENT_CHECK_S) and not is_orphan():
                pass
    except (dataset.DatasetError, OSError) as exc:
        print(f"sandbox: {exc}", file=sys.stderr)
        return EXIT_USAGE
    for violation in sandbox.google.violations:
        print(f"sandbox: an answer outside of Google's discovery document: {violation}", file=sys.stderr)
    return EXIT_VIOLATIONS if sandbox.google.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sandbox",
        description="An authentik and a Google Directory on loopback. Prints one line of JSON when both are ready.",
    )
    parser.add_argument("--dataset", metavar="FILE", type=Path, default=dataset.DEFAULT, help="what stands there first")
    parser.add_argument("--authentik-version", choices=VERSIONS, default=VERSIONS[-1])
    parser.add_argument("--authentik-port", metavar="PORT", type=int, default=0, help="default: a free one")
    parser.add_argument("--google-port", metavar="PORT", type=int, default=0, help="default: a free one")
    parser.add_argument("--google-only", action="store_true", help="no authentik")
    parser.add_argument("--google-latency-ms", metavar="MS", type=float, default=0, help="added to Google's answers")
    parser.add_argument("--sync-ms", metavar="MS", type=int, default=0, help="authentik's own work for one sync")
    parser.add_argument(
        "--answer-ms", metavar="MS", type=int, default=10000, help="how long authentik's view waits for its task"
    )
    parser.add_argument("--parent-pid", metavar="PID", type=int, help="end when this process ends")
    return parser


def _orphan_check(parent: int | None):
    """Return a function that tells whether the parent process, when there is one to watch, has ended."""
    if parent is None:
        return lambda: False
    if os.getppid() == parent:
        # Its number could be given to another process: being handed on to a new parent cannot be mistaken.
        return lambda: os.getppid() != parent
    return lambda: not _is_running(parent)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _hint(info: dict) -> str:
    lines = ["", "The sandbox is running; Ctrl-C ends it. In another terminal:", ""]
    if "authentik_url" in info:
        lines += [
            f"  export AUTHENTIK_URL={info['authentik_url']}",
            f"  export AUTHENTIK_TOKEN={info['authentik_token']}",
        ]
    lines += [
        f"  export GOOGLE_WORKSPACE_API_ENDPOINT={info['google_api_endpoint']}",
        "",
        f"What stands at Google: curl {info['control_url']}/google/state",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
