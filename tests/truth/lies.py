# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways in which the modules could lie, made on purpose: ``tests/truth`` alone must catch each of them.

Each lie is a change of one place in a copy of the collection, against which the sequences are then run. A lie that no longer
fits the source fails the check, so that the list cannot go stale.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.support.tree import ROOT
from tests.truth import SHARE

# Sequences that a lie may take to be caught, and the seeds that are tried one after the other.
EXAMPLES = 150
SEEDS = (1, 2, 3)
UTILS = "plugins/module_utils/"
EXCEPTIONS = "tests/truth/test_exceptions.py"
OF_CONNECTIONS = f"{EXCEPTIONS} -k connection"
WHOLE = "tests/truth/test_whole_machine.py"


class Lie(NamedTuple):
    """One place, changed, and the test that must catch it, with pytest's options."""

    kind: str
    file: str
    old: str
    new: str
    test: str = "tests/truth/test_truth.py"


LIES = (
    Lie(
        "changed inverted",
        UTILS + "_sync/direct/plan_run.py",
        "outcome.changed = bool(outcome.changes) and",
        "outcome.changed = not outcome.changes and",
    ),
    Lie(
        "changed always",
        UTILS + "_sync/direct/plan_run.py",
        "outcome.changed = bool(outcome.changes) and",
        "outcome.changed = True or",
    ),
    Lie(
        "changed never",
        UTILS + "_sync/server/effect.py",
        'return Effect(bool(found), "google"',
        'return Effect(False, "google"',
    ),
    Lie(
        "changed inverted",
        UTILS + "_sync/server/effect.py",
        'return Effect(bool(found), "google"',
        'return Effect(not found, "google"',
    ),
    Lie(
        "a failure swallowed",
        UTILS + "_sync/engine.py",
        "            self.outcome.fail_by(exc)\n",
        '            self.outcome.status = "synced"\n',
    ),
    Lie(
        "a failure swallowed",
        UTILS + "_sync/direct/attempt.py",
        "            self.outcome.fail_by(exc)\n",
        '            self.outcome.status = "unchanged"\n',
    ),
    Lie(
        "a failure swallowed",
        UTILS + "_sync/outcome.py",
        "        self.fails_task = fails_task\n",
        "        self.fails_task = False\n",
    ),
    Lie(
        "a failure swallowed",
        "plugins/module_utils/_module.py",
        "        if outcome.fails_task:\n",
        "        if False:\n",
    ),
    Lie(
        "a failure swallowed",
        UTILS + "_sync/direct/plan_run.py",
        "        self._refused.append(error)\n",
        "",
    ),
    Lie(
        "verify skipped",
        UTILS + "_sync/direct/plan_run.py",
        "missing = unmet(self.plan.kind, self.plan.wanted, self.after)",
        "missing = []",
    ),
    Lie(
        "verify skipped",
        UTILS + "_sync/server/decide.py",
        "return _unmet(facts) if facts.unmet_by(after.record) else members.shown(facts)",
        "return members.shown(facts)",
    ),
    Lie(
        "verify skipped",
        UTILS + "_sync/server/inquiry.py",
        "return facts.with_after(self.observer.after(facts.before, address))",
        "return facts.with_after(facts.before)",
    ),
    Lie(
        "a message dropped",
        UTILS + "_sync/server/engine.py",
        "normalise(found.task.earlier + found.task.lines)",
        "normalise((found.task.earlier + found.task.lines)[1:])",
    ),
    Lie(
        "a retry that hides an error",
        "plugins/module_utils/_google/session.py",
        "self._run(request, what, lambda exc: exc.retryable and not exc.may_have_been_applied, creates_user)",
        "self._run(request, what, lambda exc: exc.retryable, creates_user)",
    ),
    Lie(
        "a retry that hides an error",
        UTILS + "_sync/direct/executor.py",
        "                    return found, maybe_done\n",
        "                    return found, False\n",
    ),
    Lie(
        "a message dropped",
        UTILS + "_sync/server/engine.py",
        "            outcome.messages = normalise(lines)\n",
        "            outcome.messages = normalise(lines)[:-1]\n",
    ),
    Lie(
        "a message dropped",
        UTILS + "_sync/direct/log.py",
        '        self._add("info", event, attributes)\n',
        '        if not event.startswith("Updated"):\n            self._add("info", event, attributes)\n',
    ),
    Lie(
        "an unmanaged field written",
        UTILS + "_sync/plan.py",
        "body = {key: wanted[key] for key in wanted if key in fields}",
        'body = dict({key: wanted[key] for key in wanted if key in fields}, orgUnitPath="/Lost")',
    ),
    Lie(
        "an operation invented",
        UTILS + "_sync/direct/plan_run.py",
        "        self.verify()\n",
        '        self.attempt.note(Operation("PUT", "user", "x", {}, {}))\n        self.verify()\n',
    ),
    Lie(
        "a member forgotten",
        UTILS + "_sync/direct/plan_run.py",
        '            self.perform("add")\n',
        '            list(map(self.perform_one, self.plan.operations("add")[1:]))\n',
    ),
    Lie(
        "check mode writes",
        UTILS + "_sync/direct/context.py",
        "return self.options.check_mode or self.dry",
        "return self.dry",
    ),
    Lie(
        "check mode writes", UTILS + "_sync/server/engine.py", "if self.request.check_mode and not", "if False and not"
    ),
    Lie(
        "somebody else's account",
        UTILS + "_sync/direct/observer.py",
        "            or is_at(record, self._found_by)\n",
        "            or True\n",
    ),
    Lie(
        "a secret printed",
        UTILS + "_sync/direct/plan_run.py",
        '        self.attempt.secrets.append(fields["password"])\n',
        '        self.attempt.warn(fields["password"])\n',
    ),
    Lie(
        "an unexpected error that hides a write",
        UTILS + "_sync/engine.py",
        "        elif not outcome.changed:\n            outcome.assume_changed()\n",
        "",
        EXCEPTIONS,
    ),
    Lie(
        "an unexpected error that hides a write",
        UTILS + "_sync/direct/attempt.py",
        "self.unknown = self.unknown or self._unshown_writes(sent, shown)",
        "pass",
        EXCEPTIONS,
    ),
    Lie(
        "an unexpected error that hides a write",
        UTILS + "_google/session.py",
        "if isinstance(exc, GoogleError) else not self._own.sent",
        "if isinstance(exc, GoogleError) else True",
        EXCEPTIONS,
    ),
    Lie(
        "an unexpected error that hides a write",
        UTILS + "_common/writes.py",
        "        self._own.count = self.of_thread + number\n",
        "",
        EXCEPTIONS,
    ),
    Lie(
        "a connection's change untold",
        UTILS + "_config/work.py",
        "report.changed = report.changed or bool(report.operations) or self.unread",
        "report.changed = report.changed or self.unread",
        WHOLE,
    ),
    Lie(
        "check mode writes a connection",
        UTILS + "_config/work.py",
        "        if self.check_mode:\n            self.report.operations.append(done)\n",
        "        if False:\n            self.report.operations.append(done)\n",
        WHOLE,
    ),
    Lie(
        "a connection with somebody else's record",
        UTILS + "_config/connection.py",
        "        self._refuse_taken(wanted, record)\n",
        "",
        WHOLE,
    ),
    Lie(
        "a connection that was already there",
        UTILS + "_config/connection.py",
        "        if not kept:\n            self.write(",
        "        if True:\n            self.write(",
        WHOLE,
    ),
    Lie(
        "a directory's change forgotten",
        UTILS + "_sync/directory_outcome.py",
        "        self.changed = self.changed or item.changed\n",
        "        self.changed = item.changed\n",
        WHOLE,
    ),
    Lie(
        "a directory's removed members untold",
        UTILS + "_sync/directory_outcome.py",
        'self.counts["groups"]["members_removed"] += len(change["removed"])',
        'self.counts["groups"]["members_removed"] += 0',
        WHOLE,
    ),
    Lie(
        "an unexpected error that hides a write",
        UTILS + "_config/work.py",
        "            if client.calls > before and not refused:\n",
        "            if False:\n",
        OF_CONNECTIONS,
    ),
    Lie(
        "an unexpected error that hides a write",
        UTILS + "_config/work.py",
        "report.changed = report.changed or bool(report.operations) or self.unread",
        "report.changed = report.changed or bool(report.operations)",
        OF_CONNECTIONS,
    ),
    Lie(
        "an owner that is not asked",
        UTILS + "_sync/guard/ownership.py",
        "    return THEIRS if rivals.wanting or rivals.by_address else UNDECIDED\n",
        "    return OWN\n",
    ),
    Lie(
        "an owner that is not asked",
        UTILS + "_sync/direct/observer.py",
        "        return found == OWN\n",
        "        return True\n",
    ),
    Lie(
        "an owner that is not asked",
        UTILS + "_sync/server/protection.py",
        "    found = verdict(how, wants, rivals)\n",
        "    found = OWN\n",
    ),
    Lie(
        "two objects that get one record",
        UTILS + "_sync/guard/claims.py",
        "        return losing, lost_to\n",
        "        return [], []\n",
        WHOLE,
    ),
    Lie(
        "a guard that is skipped",
        UTILS + "_objects/protection.py",
        "    why = standing(record, protection)\n    if not why:\n",
        '    why = ""\n    if not why:\n',
    ),
    Lie(
        "a guard that is skipped",
        UTILS + "_objects/protection.py",
        '    if record.get("isDelegatedAdmin"):\n',
        "    if False:\n",
        WHOLE,
    ),
    Lie(
        "a guard that is skipped",
        UTILS + "_objects/protection.py",
        "    if deletes:\n        found.append(DELETE)\n",
        "",
        WHOLE,
    ),
    Lie(
        "a limit that counts one cause less",
        UTILS + "_sync/plan.py",
        "        for plan in self.orphans:\n            for name, number in effects(plan).items():\n",
        "        for plan in ():\n            for name, number in effects(plan).items():\n",
        WHOLE,
    ),
    Lie(
        "a limit that counts one cause less",
        UTILS + "_sync/plan.py",
        '        "renames": int(renames),\n',
        '        "renames": int(renames and not suspends),\n',
        WHOLE,
    ),
    Lie(
        "a limit that stops nothing",
        UTILS + "_sync/guard/safety_limits.py",
        "        return self.planned > self.allowed\n",
        "        return self.planned > self.allowed + 1\n",
        WHOLE,
    ),
)


def claims(output: str) -> str:
    """The false claim that a test run printed; empty for none."""
    found = re.search(r"FalseClaim: (.*)", output)
    return found.group(1)[:120] if found else ""


def caught(lie: Lie) -> tuple[str, float]:
    """The false claim by which the sequences catch a lie, empty if they do not, and the seconds until then."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # A whole checkout, of which the tests of the copy find their own sandbox, and no other.
        tree = Path(folder) / "ansible_collections" / "dirsync" / "authentik"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "output"))
        path = tree / lie.file
        text = path.read_text()
        if text.count(lie.old) != 1:
            raise SystemExit(f"the lie no longer fits {lie.file}: {lie.old!r}")
        path.write_text(text.replace(lie.old, lie.new))
        for seed in SEEDS:
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                *lie.test.split(),
            ]
            environment = {
                **os.environ,
                "PYTHONPATH": folder,
                "TRUTH_EXAMPLES": str(EXAMPLES * SHARE if lie.test == WHOLE else EXAMPLES),
                "TRUTH_SHRINK": "no",
                # The copy is not where ansible-playbook looks for the collection, and time is short.
                "TRUTH_PLAYBOOK_SHARE": "0",
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            done = subprocess.run(
                [*command, f"--hypothesis-seed={seed}", f"--override-ini=pythonpath=. {folder}"],
                cwd=tree,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            claim = claims(done.stdout)
            if done.returncode == 1 and claim:
                return claim, time.monotonic() - started
            if done.returncode != 0 and not claim:
                raise SystemExit(done.stdout[-3000:] + done.stderr[-2000:])
    return "", time.monotonic() - started


def main() -> int:
    """Tell every lie, or those of a file that ``LIES_FILE`` is a part of; exit status 1 if one is not caught."""
    lies = [lie for lie in LIES if os.environ.get("LIES_FILE", "") in lie.file]
    survivors = []
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("TRUTH_JOBS", os.cpu_count() or 1))) as pool:
        for lie, (found, seconds) in zip(lies, pool.map(caught, lies), strict=True):
            print(
                f"{'caught ' if found else 'BELIEVED'} after {seconds:4.0f} s  {lie.kind}: {lie.file}: {lie.old.strip()[:70]!r}: {found}",
                flush=True,
            )
            if not found:
                survivors.append(lie)
    print(f"{len(lies) - len(survivors)} of {len(lies)} lies caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
