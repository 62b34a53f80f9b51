# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make mutants``: a sample of mutations of the collection's heart, each judged by the tests that run through its line.

Recorded first, with the collection as it is: which lines each unit test, each of a number of sequences of the truth machine
and each contract test runs through. A mutant is then given to the unit tests of its line, to the sequences (each claim
held against what the sandbox saw), and to the contract tests, until something fails. Each mutant lives in a forked process,
which imports the collection anew with the one changed source, so that nothing on disk is changed.

    MUTANTS=300         how many (0: all)
    MUTANTS_SEED=0      which
    MUTANTS_JOBS=2      processes
    MUTANTS_BY=truth    judged by the sequences alone; or unit,sequences
    MUTANTS_SEQUENCES=200  how many are recorded
    MUTANTS_FILE=…      only those of files whose path contains this
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.tree import ROOT
from tests.truth.mutations import Mutant, everything, files, mutated

COLLECTION = "ansible_collections.dirsync.authentik."
CACHE = ROOT / ".cache" / "mutants"
UNIT = ["tests/unit"]
CONTRACT = [
    "tests/contract/test_module_limits.py",
    "tests/contract/test_recordings.py",
    "tests/contract/test_google_side.py",
    "tests/contract/test_authentik_reads.py",
    "tests/contract/test_directory_addresses.py",
    "tests/contract/test_directory_listings.py",
    "tests/contract/test_directory_orphans.py",
    "tests/contract/test_directory_shards.py",
    "tests/contract/test_full_sync.py",
    "tests/contract/test_mapping_corpus.py",
    "tests/contract/test_recorded_mappings.py",
    "tests/contract/test_configuration.py",
    "tests/contract/test_sync_info.py",
]
# Sequences that are recorded; those of one line that a mutant must pass, and contract tests of it.
SEQUENCES = int(os.environ.get("MUTANTS_SEQUENCES", "200"))
MOST_SEQUENCES, MOST_TESTS = 40, 25
# The tests of one line, shortest first, are cut off where they took so long together, as recorded; one is always taken.
TESTS_S = 60
# A mutant that takes longer than this hangs, also on a machine with other work.
LONGEST_S = 900
Record = dict[str, dict[int, list[str]]]


# Recording


class _Context:
    """pytest plugin: each test is a context of the measurement."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_setup(self, item: Any) -> None:
        self.coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)


def _measured(work: Callable[[Any], Any]) -> tuple[Any, Record]:
    """What a piece of work returns, and which of its contexts ran through which lines."""
    from coverage import Coverage

    coverage = Coverage(data_file=None, include=["*/plugins/*"])
    coverage.start()
    found = work(coverage)
    coverage.stop()
    data = coverage.get_data()
    lines: Record = {}
    for path in data.measured_files():
        file = "plugins/" + path.rpartition("/plugins/")[2]
        lines[file] = {line: [name for name in names if name] for line, names in data.contexts_by_lineno(path).items()}
    return found, lines


def record_tests(paths: list[str]) -> dict[str, Any]:
    """Run tests and keep which lines each runs through, and how long it takes."""
    import pytest

    failed: set[str] = set()

    def work(coverage: Any) -> dict[str, float]:
        context = _Context(coverage)
        pytest.main(["-q", "-p", "no:cacheprovider", *paths], plugins=[context])
        failed.update(context.failed)
        return context.seconds

    seconds, lines = _measured(work)
    for file in lines.values():
        for line, names in file.items():
            # What fails without any mutation, by being measured or on a busy machine, judges none.
            file[line] = [name for name in names if name not in failed]
    return {"seconds": seconds, "lines": lines}


def record_sequences() -> dict[str, Any]:
    """Generate sequences, walk each, and keep which lines it runs through."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    from tests.truth.machine import Truth

    stories: list[Any] = []

    def work(coverage: Any) -> None:
        class Kept(Truth):
            def __init__(self) -> None:
                super().__init__()
                coverage.switch_context(str(len(stories)))

            def teardown(self) -> None:
                stories.append(self.story)

        run_state_machine_as_test(
            Kept,
            settings=settings(
                max_examples=SEQUENCES,
                stateful_step_count=12,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            ),
        )

    _nothing, lines = _measured(work)
    return {"stories": stories, "lines": lines}


def recorded(judges: list[str]) -> dict[str, Any]:
    """What was recorded of the judges for the sources as they are; made where it is missing, in processes of their own."""
    # Tests that were changed since run through much the same lines: not worth a new record.
    sources = sorted(
        [*ROOT.glob("plugins/**/*.py"), ROOT / "tests/truth/machine.py", ROOT / "tests/truth/dataset.json"]
    )
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob("*.json"):
        if not old.name.startswith(digest):
            old.unlink()
    found = {}
    for name in judges:
        path = CACHE / f"{digest}-{name}.json"
        if not path.exists():
            print(f"Recording which of {name} runs through which line", flush=True)
            started = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "tests.truth.mutants", "record", name, str(path)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / '.build'}", "TRUTH_PLAYBOOK_SHARE": "0"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(done.stdout[-4000:])
            print(f"  {time.monotonic() - started:.0f} s", flush=True)
        found[name] = json.loads(path.read_text())
    return found


# Judging


class _Changed(importlib.machinery.SourceFileLoader):
    """Gives a module another source than its file has."""

    source = ""

    def get_data(self, path: str) -> bytes:
        return self.source.encode()

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Nothing of a mutant is kept."""


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module of the collection with another source."""

    def __init__(self, file: str, source: str) -> None:
        self.name = COLLECTION + file.removesuffix(".py").replace("/", ".")
        path = ROOT / ".build" / "ansible_collections" / "dirsync" / "authentik" / file
        self.loader = _Changed(self.name, str(path))
        self.loader.source = source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.loader.path, loader=self.loader)


def _judge(mutant: Mutant, source: str, record: dict[str, Any], running: dict[str, Any]) -> str:
    """What kills a mutant, in this process, which is lost afterwards; "" if nothing does."""
    for name in list(sys.modules):
        if name.startswith((COLLECTION, "tests.")) and name not in KEPT_MODULES:
            del sys.modules[name]
    sys.meta_path.insert(0, _Finder(mutant.file, source))
    for name in running["judges"]:
        reason = {"unit": _by_tests, "sequences": _by_sequences, "contract": _by_tests}[name](
            mutant, record, name, running
        )
        if reason:
            return reason
    return ""


def _of_line(mutant: Mutant, record: dict[str, Any], part: str) -> list[str]:
    """The contexts that run through a mutant's line; all of its file's where the line runs on import only."""
    lines = record[part]["lines"].get(mutant.file, {})
    found = lines.get(str(mutant.line), [])
    if not found and str(mutant.line) not in lines:
        found = sorted({name for names in lines.values() for name in names})
    return found


def _by_tests(mutant: Mutant, record: dict[str, Any], part: str, _running: dict[str, Any]) -> str:
    import pytest

    seconds = record[part]["seconds"]
    chosen: list[str] = []
    taken = 0.0
    for name in sorted(_of_line(mutant, record, part), key=lambda name: (seconds.get(name, 0.0), name))[:MOST_TESTS]:
        taken += seconds.get(name, 0.0)
        if chosen and taken > TESTS_S:
            break
        chosen.append(name)
    if not chosen:
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no", *chosen])
    if not status:
        return ""
    failed = [line for line in printed.getvalue().splitlines() if line.startswith(("FAILED", "ERROR"))]
    return f"{part}: {failed[0][:150] if failed else status}"


def _by_sequences(mutant: Mutant, record: dict[str, Any], part: str, running: dict[str, Any]) -> str:
    from tests.truth import machine, oracle, world

    world._running.update(running["sandboxes"])
    stories = record[part]["stories"]
    for name in _of_line(mutant, record, part)[:MOST_SEQUENCES]:
        try:
            machine.walk(stories[int(name)])
        except oracle.FalseClaim as exc:
            return f"false claim: {str(exc)[:120]}"
        except Exception as exc:  # noqa: BLE001 - whatever the changed code does
            return f"traceback: {type(exc).__name__}: {str(exc)[:100]}"
    return ""


# What a forked process keeps of its parent: nothing that imports the collection.
KEPT_MODULES = {
    "tests",
    "tests.truth",
    "tests.truth.mutants",
    "tests.truth.mutations",
    "tests.sandbox",
    "tests.sandbox.process",
    "tests.support",
    "tests.support.tree",
}


def _serve(judges: list[str]) -> None:
    """A worker: mutants come in as lines of JSON, verdicts go out as such."""
    from tests.sandbox.process import Sandbox

    os.environ["TRUTH_PLAYBOOK_SHARE"] = "0"
    record = recorded(judges)
    _warm_up()
    dataset = ROOT / "tests" / "truth" / "dataset.json"
    out = os.fdopen(os.dup(1), "w")
    with contextlib.ExitStack() as stack:
        sandboxes = {
            version: stack.enter_context(Sandbox(dataset=dataset, authentik_version=version))
            for version in ("2025.12.4", "2025.8.6", "2024.8.1")
        }
        running = {"sandboxes": sandboxes, "judges": judges}
        for line in sys.stdin:
            item = json.loads(line)
            mutant = Mutant(**item["mutant"])
            started = time.monotonic()
            reason = _in_a_fork(functools.partial(_judge, mutant, item["source"], record, running))
            out.write(json.dumps({"reason": reason, "seconds": time.monotonic() - started}) + "\n")
            out.flush()


def _warm_up() -> None:
    """Import what every mutant needs and no mutant changes."""
    for name in ("pytest", "hypothesis.stateful", "googleapiclient.discovery", "google.oauth2.service_account"):
        importlib.import_module(name)
    for name in ("google_auth_httplib2", "ansible.module_utils.basic", "ansible.module_utils.urls", "yaml", "httpx"):
        importlib.import_module(name)


def _in_a_fork(work: Callable[[], str]) -> str:
    """Run something in a forked process; what it returns, or what became of it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        try:
            said = work()
        except BaseException as exc:  # noqa: BLE001 - a mutant may do anything, at its import already
            said = f"traceback: {type(exc).__name__}: {str(exc)[:100]}"
        with os.fdopen(writer, "w") as file:
            file.write(said)
        os._exit(0)
    os.close(writer)
    timer = threading.Timer(LONGEST_S, lambda: os.killpg(pid, signal.SIGKILL))
    timer.start()
    with os.fdopen(reader) as file:
        said = file.read()
    _pid, status = os.waitpid(pid, 0)
    hung = not timer.is_alive()
    timer.cancel()
    if hung:
        return f"hangs for {LONGEST_S} s"
    # Whatever a test of the mutant had started and not ended.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return said if not status else f"the process ended with {status}"


def main() -> int:
    """Judge a sample; exit status 1 when there are survivors."""
    count, seed = int(os.environ.get("MUTANTS", "300")), int(os.environ.get("MUTANTS_SEED", "0"))
    asked = os.environ.get("MUTANTS_BY", "unit,sequences,contract").replace("truth", "sequences")
    judges = [name for name in ("unit", "sequences", "contract") if name in asked]
    record = recorded(judges)
    chosen = [item for item in everything() if os.environ.get("MUTANTS_FILE", "") in item.file]
    total = len(chosen)
    if count and count < total:
        chosen = random.Random(seed).sample(chosen, count)
    print(
        f"{len(chosen)} of {total} mutants of {len(files())} files, seed {seed}, judged by {', '.join(judges)}",
        flush=True,
    )
    waiting: queue.Queue[Mutant] = queue.Queue()
    unreached = []
    for mutant in chosen:
        if any(_of_line(mutant, record, part) for part in judges):
            waiting.put(mutant)
        else:
            unreached.append(mutant)
    verdicts: list[tuple[Mutant, str]] = [(mutant, "") for mutant in unreached]
    lock = threading.Lock()

    def work() -> None:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.truth.mutants", "serve", *judges],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / '.build'}", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            while True:
                try:
                    mutant = waiting.get_nowait()
                except queue.Empty:
                    break
                worker.stdin.write(json.dumps({"mutant": vars(mutant), "source": mutated(mutant)}) + "\n")
                worker.stdin.flush()
                verdict = json.loads(worker.stdout.readline())
                with lock:
                    verdicts.append((mutant, verdict["reason"]))
                    mark = "killed  " if verdict["reason"] else "SURVIVES"
                    print(
                        f"{len(verdicts):4} {mark} {verdict['seconds']:4.0f} s  {mutant}  {verdict['reason']}",
                        flush=True,
                    )
            worker.stdin.close()

    threads = [threading.Thread(target=work) for _job in range(int(os.environ.get("MUTANTS_JOBS", "2")))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return report(verdicts, unreached)


def report(verdicts: list[tuple[Mutant, str]], unreached: list[Mutant]) -> int:
    """Say who survived, and who killed the others."""
    survivors = [mutant for mutant, reason in verdicts if not reason]
    by = Counter(reason.partition(":")[0] for _mutant, reason in verdicts if reason)
    grouped = defaultdict(list)
    for mutant in survivors:
        grouped[mutant.file].append(mutant)
    print("\nSurvivors")
    for file in sorted(grouped):
        for mutant in sorted(grouped[file], key=lambda item: item.line):
            print(f"  {mutant}{'  (no test runs through it)' if mutant in unreached else ''}")
    print(f"\n{len(verdicts) - len(survivors)} of {len(verdicts)} killed: {dict(by)}")
    return 1 if survivors else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["record"]:
        made = {"unit": lambda: record_tests(UNIT), "contract": lambda: record_tests(CONTRACT)}
        made["sequences"] = record_sequences
        Path(sys.argv[3]).write_text(json.dumps(made[sys.argv[2]]()))
        sys.exit(0)
    if sys.argv[1:2] == ["serve"]:
        _serve(sys.argv[2:])
        sys.exit(0)
    sys.exit(main())
