# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.sandbox``: run the sandbox until SIGTERM, SIGINT or the end of its parent process."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from tests.sandbox.authentik import RELEASES
from tests.sandbox.dataset import DEFAULT, DatasetError, load
from tests.sandbox.process import NEWEST
from tests.sandbox.server import Servers

BUGS = 3


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox", description=__doc__)
    parser.add_argument("--dataset", type=Path, default=DEFAULT, help="what stands on both sides (see the README)")
    parser.add_argument("--authentik-version", choices=list(RELEASES), default=NEWEST, help=f"default {NEWEST}")
    parser.add_argument("--authentik-port", type=int, default=0, help="default: a free one")
    parser.add_argument("--google-port", type=int, default=0, help="default: a free one")
    parser.add_argument("--google-only", action="store_true", help="no authentik")
    parser.add_argument("--google-latency-ms", type=float, default=0, help="added to each of Google's answers")
    parser.add_argument("--sync-ms", type=float, default=0, help="what authentik's own work for one sync costs")
    parser.add_argument("--answer-ms", type=float, default=10000, help="how long authentik waits for a sync's task")
    parser.add_argument("--parent-pid", type=int, help="end when this process, the parent, has ended")
    return parser.parse_args()


def hint(info: dict) -> str:
    """How a person uses it."""
    both = "authentik_url" in info
    lines = ["", f"{'An authentik and a' if both else 'A'} Google Directory run here, on loopback, until Ctrl-C.", ""]
    lines += ["In another terminal, in this folder:", ""]
    if both:
        lines += [
            f"  export AUTHENTIK_URL={info['authentik_url']}",
            f"  export AUTHENTIK_TOKEN={info['authentik_token']}",
        ]
    lines += [
        f"  export GOOGLE_WORKSPACE_API_ENDPOINT={info['google_api_endpoint']}",
        f"  export SANDBOX={info['control_url']}",
        "",
    ]
    if both:
        lines += [
            "  .venv/bin/ansible localhost -m dirsync.authentik.google_workspace_sync_object \\",
            f"      -a 'provider_id={info['provider_id']} sync_object_model=user sync_object_id=ada.example'",
        ]
    return "\n".join([*lines, "  curl $SANDBOX/google/state", ""])


def main() -> int:
    """Run, and return the exit status: 3 if Google's side gave an answer that Google's schema forbids."""
    options = arguments()
    try:
        dataset = load(options.dataset)
    except DatasetError as exc:
        print(f"dataset: {exc}", file=sys.stderr)
        return 2
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        servers = Servers(
            dataset=dataset,
            version=options.authentik_version,
            authentik_port=options.authentik_port,
            google_port=options.google_port,
            google_only=options.google_only,
            google_latency_ms=options.google_latency_ms,
            sync_ms=options.sync_ms,
            answer_ms=options.answer_ms,
        )
    except OSError as exc:
        print(f"a port cannot be used: {exc}", file=sys.stderr)
        return 2
    servers.start()
    # A program reads JSON; a person reads what to do.
    print(hint(servers.info) if sys.stdout.isatty() else json.dumps(servers.info), flush=True)
    while not over.wait(1.0):
        if options.parent_pid and os.getppid() != options.parent_pid:
            break
    problems = list(servers.google.violations)
    servers.stop()
    for problem in problems:
        print(f"outside of Google's schema: {problem}", file=sys.stderr)
    return BUGS if problems else 0


if __name__ == "__main__":
    sys.exit(main())
