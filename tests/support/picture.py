# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make picture``: run the demo on a pseudo-terminal and draw its output into docs/demo.svg.

The picture plays the output line by line and then stays at its end; whoever prefers reduced motion sees the end at once. The
same output gives the same file: the pace of the picture is not the pace of the run.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from .demo import width
from .tree import ROOT

PICTURE = ROOT / "docs" / "demo.svg"
COLUMNS, ROWS = 120, 34
CHARACTER, LINE, MARGIN, BAR = 7.8, 18, 16, 34
# Seconds that a line takes to follow the one before it, and the pause before a new task.
PACE, PAUSE = 0.04, 0.9
# What the terminal's colours look like on the picture's background; each has a contrast of 4.5 : 1 at least.
COLOURS = {
    "30": "#8b949e", "31": "#ff7b72", "32": "#7ee787", "33": "#e3b341",
    "34": "#79c0ff", "35": "#d2a8ff", "36": "#76e3ea", "37": "#e6edf3",
}  # fmt: skip
PLAIN, BACKGROUND = "#e6edf3", "#0d1117"
ESCAPES = re.compile(r"\x1b\[([\d;]*)m|\x1b\[[\d;?]*[A-Za-z]")
# The result of a failed task: the message is drawn, the rest is counted.
DUMP = re.compile(r"^fatal: .*FAILED! =>")


@dataclass(frozen=True)
class Run:
    """Characters of one colour that follow each other.

    Attributes:
        text: the characters.
        colour: theirs, as CSS says it.
    """

    text: str
    colour: str


Line = tuple[Run, ...]


def recorded() -> str:
    """The demo's output, as it arrives on a terminal.

    Raises:
        SystemExit: the demo failed.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "NO_COLOR"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.demo"],
        cwd=ROOT,
        env={**kept, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    try:
        while part := os.read(ours, 65536):
            output += part
    except OSError:
        # Linux says so when the last process has closed the terminal.
        pass
    os.close(ours)
    text = output.decode()
    if process.wait():
        raise SystemExit(f"The demo failed with status {process.returncode}, so no picture was drawn:\n{text}")
    return text


def lines(output: str) -> list[Line]:
    """The lines of a terminal's output, with their colours and without the paths of this machine."""
    colour = PLAIN
    found = []
    for raw in output.replace(f"{ROOT}/", "").replace("\r", "").split("\n"):
        runs: list[Run] = []
        place = 0
        for code in ESCAPES.finditer(raw):
            if text := raw[place : code.start()]:
                runs.append(Run(text, colour))
            place = code.end()
            if code[1] is not None:
                number = code[1].split(";")[-1]
                colour = COLOURS.get(number.replace("9", "3", 1) if len(number) == 2 else number, PLAIN)
        if text := raw[place:]:
            runs.append(Run(text, colour))
        found.append(tuple(runs))
    return found


def plain(line: Line) -> str:
    """A line's characters."""
    return "".join(run.text for run in line)


def shortened(all_lines: Sequence[Line]) -> list[Line]:
    """The lines, with the results of failed tasks down to their message; the picture says how much it leaves out."""
    out: list[Line] = []
    dump: list[Line] | None = None
    for line in all_lines:
        if dump is None:
            out.append(line)
            if DUMP.match(plain(line)):
                dump = []
        elif plain(line).strip():
            dump.append(line)
        else:
            out += [*_message(dump), line]
            dump = None
    return [*out, *_message(dump or ())]


def _message(dump: Sequence[Line]) -> Iterator[Line]:
    """The entry ``msg`` of a result in YAML, and how many other lines there are."""
    inside = False
    shown = 0
    for line in dump:
        text = plain(line)
        if re.match(r"^    \w", text):
            inside = text.startswith("    msg:")
        if inside:
            shown += 1
            yield line
    if len(dump) > shown:
        yield (Run(f"    ({len(dump) - shown} more lines of the result)", COLOURS["30"]),)


def wrapped(line: Line) -> Iterator[Line]:
    """A line in pieces that fit the terminal."""
    rest: list[Run] = []
    room = COLUMNS
    for run in line:
        text = run.text
        while text:
            piece = text[:room]
            while width(piece) > room:
                piece = piece[:-1]
            if piece:
                rest.append(Run(piece, run.colour))
            room -= width(piece)
            text = text[len(piece) :]
            if room <= 0 or (text and not piece):
                yield tuple(rest)
                rest, room = [], COLUMNS
    if rest or not line:
        yield tuple(rest)


def drawn(line: Line, number: int, time: float) -> str:
    """A line of the picture, which appears at the given second."""
    place = 0
    parts = []
    for run in line:
        columns = width(run.text)
        if run.text.strip():
            x, length = MARGIN + place * CHARACTER, columns * CHARACTER
            parts.append(
                f'<tspan x="{x:.1f}" textLength="{length:.1f}" fill="{run.colour}">{escape(run.text, quote=False)}</tspan>'
            )
        place += columns
    y = BAR + MARGIN + number * LINE
    return f'<text class="l" y="{y}" style="animation-delay:{time:.2f}s">{"".join(parts)}</text>' if parts else ""


def svg(all_lines: Sequence[Line]) -> str:
    """The picture."""
    shown = [(Run("$ ", COLOURS["32"]), Run("make demo", PLAIN)), (), *all_lines]
    while shown and not plain(shown[-1]).strip():
        shown.pop()
    time = 0.0
    texts = []
    frames = []
    for number, line in enumerate(shown):
        time += PAUSE if plain(line).startswith(("TASK", "PLAY", "At Google")) else PACE
        texts.append(drawn(line, number, time))
        if number >= ROWS:
            frames.append((time, (number - ROWS + 1) * LINE))
    end = frames[-1][1] if frames else 0
    steps = "".join(f"{100 * at / time:.3f}%{{transform:translateY(-{up}px)}}" for at, up in frames)
    wide, high = 2 * MARGIN + COLUMNS * CHARACTER, BAR + 2 * MARGIN + ROWS * LINE
    body = "\n".join(text for text in texts if text)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!--
SPDX-FileCopyrightText: the dirsync.authentik contributors
SPDX-License-Identifier: GPL-3.0-or-later
Written by `make picture`.
-->
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high}" width="{wide:g}" height="{high}" role="img">
<title>The output of make demo</title>
<style>
text{{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}}
.l{{animation:show 1ms both}}
.s{{transform:translateY(-{end}px);animation:scroll {time:.2f}s steps(1,end)}}
@keyframes show{{from{{visibility:hidden}}}}
@keyframes scroll{{0%{{transform:translateY(0)}}{steps}}}
@media (prefers-reduced-motion:reduce){{.l,.s{{animation:none}}}}
</style>
<clipPath id="screen"><rect y="{BAR + 3}" width="{wide:g}" height="{high - BAR - MARGIN // 2}"/></clipPath>
<rect width="{wide:g}" height="{high}" rx="8" fill="{BACKGROUND}"/>
<circle cx="20" cy="17" r="6" fill="#ff5f56"/>
<circle cx="40" cy="17" r="6" fill="#ffbd2e"/>
<circle cx="60" cy="17" r="6" fill="#27c93f"/>
<g clip-path="url(#screen)"><g class="s" xml:space="preserve">
{body}
</g></g>
</svg>
"""


def main() -> int:
    """Return 0 if the picture was drawn."""
    found = [piece for line in shortened(lines(recorded())) for piece in wrapped(line)]
    PICTURE.write_text(svg(found))
    print(f"{PICTURE.relative_to(ROOT)}: {len(found)} lines.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
