# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python for the tasks of playbooks that has imported Google's libraries and the standard library's already.

Ansible starts a Python for each task, and three quarters of the time of a short task is spent on importing what every task
imports. ``Warm`` starts one process that imports it once; its ``interpreter`` is a program that Ansible can call as a Python,
and lets that process fork itself, with the caller's arguments, environment, folder and standard streams. What is run is the
same: the module, and all of ansible.module_utils, still come from the archive that Ansible made; it makes each archive once, and
not for each ansible-playbook. ``make check`` runs playbooks so; ``make test`` starts a Python of its own for each task, as Ansible does.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import importlib
import marshal
import os
import runpy
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

from .tree import ROOT

# Where playbook.py finds it.
INTERPRETER = "TESTS_INTERPRETER"
# The plugin that keeps archives, and where it finds the folder.
ARCHIVES, ARCHIVED = "archives", "TESTS_ARCHIVES"
CALLBACKS = Path(__file__).parent / "callbacks"
IMPORTED = (
    *("argparse", "asyncio", "concurrent.futures", "ctypes", "dataclasses", "decimal", "email.mime.multipart", "fcntl"),
    *(
        "grp",
        "hashlib",
        "http.client",
        "http.cookiejar",
        "inspect",
        "ipaddress",
        "json",
        "locale",
        "logging",
        "optparse",
    ),
    *(
        "platform",
        "plistlib",
        "pwd",
        "random",
        "selectors",
        "shlex",
        "ssl",
        "syslog",
        "unicodedata",
        "urllib.request",
        "uuid",
    ),
    *("xml.etree.ElementTree", "zipfile", "yaml", "cryptography.x509", "cryptography.hazmat.primitives.serialization"),
    *("google.auth.transport.requests", "google.oauth2.service_account", "google_auth_httplib2"),
    *("googleapiclient.discovery", "googleapiclient.http", "httplib2", "requests"),
)
# -I and -S: what it needs is built in.
PROGRAM = """\
#!{python} -IS
import _socket, array, marshal, os, sys
here = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
here.connect({address!r})
data = marshal.dumps((sys.argv[1:], dict(os.environ), os.getcwd()))
streams = array.array("i", [0, 1, 2]).tobytes()
here.sendmsg([len(data).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
here.sendall(data)
answer = here.recv(1)
os._exit(answer[0] if answer else 137)
"""


class Warm:
    """The process, while it is used as a context manager.

    Attributes:
        interpreter: the program to call as a Python; None where it could not be started.
    """

    interpreter: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What lets playbooks run faster; empty where it could not be started."""
        if self.interpreter is None:
            return {}
        return {
            INTERPRETER: self.interpreter,
            ARCHIVED: os.path.join(self._folder, "archives"),
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": ARCHIVES,
        }

    def __enter__(self) -> Warm:
        self._folder = tempfile.mkdtemp(prefix="warm-")
        address = os.path.join(self._folder, "socket")
        command = [sys.executable, "-m", "tests.support.warm", address]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        if self._process.stdout and self._process.stdout.readline():
            program = Path(self._folder, "python")
            program.write_text(PROGRAM.format(python=sys.executable, address=address))
            program.chmod(0o700)
            self.interpreter = str(program)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def serve(address: str) -> None:
    """Import, say so, and fork for whoever asks, until the standard input ends or a signal arrives."""
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(address)
        server.listen(64)
        # A fork has one thread only: what is imported must not have started any.
        if threading.active_count() == 1:
            print("ready", flush=True)
        while True:
            caller, _address = server.accept()
            if os.fork() == 0:
                server.close()
                become(caller)
            caller.close()


def become(caller: socket.socket) -> None:
    """Be the Python that a caller asked for, and end with the exit status that it would have."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 1
    try:
        arguments = taken_over(caller)
        status = run(arguments)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        caller.sendall(bytes([status & 0xFF]))
    os._exit(status & 0xFF)


def taken_over(caller: socket.socket) -> list[str]:
    """Take over the caller's streams, environment and folder; returns the arguments."""
    size = array.array("i").itemsize
    head, more, _flags, _address = caller.recvmsg(4, socket.CMSG_LEN(3 * size))
    streams = array.array("i")
    streams.frombytes(more[0][2][: 3 * size])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    (length,) = struct.unpack(">I", head)
    data = b""
    while len(data) < length:
        data += caller.recv(length - len(data))
    arguments, environment, folder = marshal.loads(data)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    return list(arguments)


def run(arguments: list[str]) -> int:
    """Run a script, or a text (-c), as Python would; returns the exit status."""
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))
    sys.argv = arguments
    while arguments and arguments[0] in ("-u", "-B", "-I", "-E", "-s"):
        arguments.pop(0)
    status = 0
    try:
        if arguments and arguments[0] == "-c":
            text, sys.argv = arguments[1], ["-c", *arguments[2:]]
            exec(compile(text, "<string>", "exec"), {"__name__": "__main__"})
        elif arguments and not arguments[0].startswith("-"):
            sys.path[0] = os.path.dirname(arguments[0])
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            os.execv(sys.executable, [sys.executable, *arguments])
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
        if isinstance(exc.code, str):
            print(exc.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    # As at the end of any Python.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status


if __name__ == "__main__":
    serve(sys.argv[1])
