# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make sanity``: ``ansible-test sanity`` on a copy of the collection, without an ignore file, for each version of
ansible-core that the collection supports and this machine has a Python for, each with every Python that it finds.

ansible-test downloads the script that bootstraps pip; ours, which unpacks the wheel of the same version, takes its place. Its
home is a folder of the project, so that nothing is left elsewhere.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import cores
from .cores import CANDIDATES, CORES, available, core_environment
from .tree import ROOT, copy_collection
from .venvs import SKIPPED, folders, pythons

CACHE = ROOT / ".cache" / "sanity"
JOBS = 2
# Each of ten tests has an environment of its own, and ansible-test takes pip out of it in the end. ensurepip, and pip that
# replaces itself, would cost six seconds of each. A wheel that is unpacked is an installed one but for its programs.
BOOTSTRAP = """\
import compileall, glob, os, shutil, subprocess, sys, sysconfig, tempfile, zipfile
wanted = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
packages = [a for a in wanted if not a.startswith("-")]
here = os.path.dirname(os.path.abspath(__file__))
wheels = [w for p in packages for w in glob.glob(os.path.join(here, p.replace("==", "-") + "-py3-none-any.whl"))]
if packages and len(wheels) == len(packages):
    tree = os.path.join(here, "%s-%s" % ("-".join(packages), sys.implementation.cache_tag))
    if not os.path.isdir(tree):
        fresh = tempfile.mkdtemp(dir=here)
        for wheel in wheels:
            zipfile.ZipFile(wheel).extractall(fresh)
        compileall.compile_dir(fresh, quiet=2)
        os.rename(fresh, tree)
    target = sysconfig.get_path("purelib")
    for name in os.listdir(tree):
        shutil.copytree(os.path.join(tree, name), os.path.join(target, name), dirs_exist_ok=True)
else:
    subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"])
    if packages:
        subprocess.check_call([sys.executable, "-m", "pip", "install"] + wanted)
"""


def ansible_test(programs: Path) -> Path:
    """Where an environment keeps ansible-test's own code."""
    done = subprocess.run(
        [programs / "python", "-c", "import ansible_test; print(ansible_test.__path__[0])"],
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(done.stdout.strip())


def provide_pip(home: Path, code: Path) -> None:
    """Put the bootstrap script where ansible-test keeps the one it downloads."""
    source = code / "_internal" / "python_requirements.py"
    versions = re.findall(r"""\bpip=['"]([0-9.]+)['"]""", source.read_text())
    if not versions:
        raise SystemExit(f"no version of pip found in {source}: ansible-test bootstraps it in another way now")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(BOOTSTRAP)
        if not list(cache.glob(f"pip-{version}-*.whl")):
            command = ["download", "-qq", "--no-deps", "--dest", str(cache), f"pip=={version}"]
            # Without it, the script does the same in its slower way.
            subprocess.run([sys.executable, "-m", "pip", *command], check=False)


def supported(code: Path) -> list[str]:
    """The Pythons that a version of ansible-core supports on managed hosts and controllers."""
    text = (code / "_util" / "target" / "common" / "constants.py").read_text()
    return sorted(set(re.findall(r"'(3\.\d+)'", text)), key=lambda version: int(version.split(".")[1]))


def parts(core: str, code: Path, arguments: list[str], ends: bool) -> list[list[str]]:
    """The arguments of each call of ansible-test.

    With ``ends``, only the oldest Python of managed hosts and that of the controller import and compile every file: an
    environment for each of the others costs more than all the rest. pylint, which takes as long as all other tests, runs with the
    newest version only: it has the rules of the oldest, and more.
    """
    if not ends:
        return [arguments]
    each = ("import", "compile")
    found = [version for version in supported(code) if version in pythons()]
    own = next(version for version in CORES[core] if version in pythons())
    late = () if core == cores.ends()[-1] else ("pylint",)
    skipped = [item for name in (*each, *late) for item in ("--skip-test", name)]
    tested = [item for name in each for item in ("--test", name)]
    return [
        [*skipped, *arguments],
        *([*tested, "--python", version, *arguments] for version in dict.fromkeys([found[0], own])),
    ]


def checked(core: str, arguments: list[str], ends: bool = False) -> int:
    """Run it with one version of ansible-core and return its exit status; its output is shown if it found something."""
    programs = core_environment(core)
    collection = copied(core)
    code = ansible_test(programs)
    home = CACHE / f"home-{core}"
    provide_pip(home, code)
    missing = [version for version in supported(code) if version not in pythons()]
    if missing and "--python" not in arguments and not ends:
        print(f"{SKIPPED} ansible-core {core} with Python {', '.join(missing)}: not on this machine.", flush=True)
    path = os.pathsep.join([str(programs), *folders()[1:]])
    environment = {**os.environ, "HOME": str(home), "PATH": path}
    environment.pop("ANSIBLE_CONFIG", None)
    environment.pop("ANSIBLE_COLLECTIONS_PATH", None)
    command = [str(programs / "ansible-test"), "sanity", "--venv", "--color", "no"]
    log = CACHE / f"log-{core}.txt"
    status = 0
    with log.open("w") as out:
        for part in parts(core, code, arguments, ends):
            done = subprocess.run(
                [*command, *part], cwd=collection, env=environment, stdout=out, stderr=out, check=False
            )
            status = status or done.returncode
    if status:
        print(log.read_text(), file=sys.stderr)
    return status


def copied(core: str) -> Path:
    """A copy of the collection for one version: each writes its reports into its copy."""
    collection = copy_collection(CACHE / f"tree-{core}")
    # Inside this checkout ansible-test would take the copy for ignored files: it gets a repository of its own.
    (collection / ".gitignore").write_text("tests/output/\n")
    for command in (["git", "init", "--quiet"], ["git", "add", "--all"]):
        subprocess.run(command, cwd=collection, check=True)
    return collection


def main() -> int:
    """Return 0 if nothing was found with any version; arguments other than --core go to ansible-test."""
    parser = argparse.ArgumentParser(prog="make sanity", description=__doc__, allow_abbrev=False)
    parser.add_argument("--core", action="append", choices=CORES, help="only this version (may be repeated)")
    parser.add_argument(
        "--ends", action="store_true", help="import and compile with the oldest and the own Python only"
    )
    options, arguments = parser.parse_known_args()
    if (ROOT / "tests" / "sanity").exists():
        print("tests/sanity exists: the collection is to be clean without ignore files.", file=sys.stderr)
        return 1
    # What ansible-test of a version that is not released wants to install is not all released either.
    found = available(options.core or tuple(core for core in CORES if core not in CANDIDATES))
    failed = []

    def timed(core: str) -> None:
        begun = time.monotonic()
        found = checked(core, arguments, options.ends)
        print(f"ansible-core {core}: {'findings' if found else 'clean'}, {time.monotonic() - begun:.0f} s", flush=True)
        if found:
            failed.append(core)

    with ThreadPoolExecutor(JOBS) as pool:
        # Reading the results lets an exception of a thread through.
        list(pool.map(timed, found))
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main())
