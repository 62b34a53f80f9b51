# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of the demo: colours, cuts and places of what a terminal showed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from tests.support import picture
from tests.support.picture import COLOURS, COLUMNS, PLAIN, ROWS, Run, lines, plain, shortened, svg, wrapped
from tests.support.tree import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def test_colours_go_on_over_the_end_of_a_line():
    first, second = lines("a\x1b[0;32mb\r\nc\x1b[0md")
    assert first == (Run("a", PLAIN), Run("b", COLOURS["32"]))
    assert second == (Run("c", COLOURS["32"]), Run("d", PLAIN))


def test_bright_colours_are_their_plain_ones_and_other_sequences_nothing():
    assert lines("\x1b[1;95mx\x1b[0m\x1b[2K\x1b[?25ly") == [(Run("x", COLOURS["35"]), Run("y", PLAIN))]


def test_paths_of_the_checkout_are_not_drawn():
    assert plain(lines(f"Origin: {ROOT}/playbooks/demo.yml:1:1")[0]) == "Origin: playbooks/demo.yml:1:1"


def test_long_lines_are_wrapped_by_columns_not_by_characters():
    (line,) = lines("a" * (COLUMNS - 1) + "\u4e16\u754c")
    assert [plain(piece) for piece in wrapped(line)] == ["a" * (COLUMNS - 1), "\u4e16\u754c"]
    assert list(wrapped(())) == [()]


def test_of_a_failed_result_the_message_stays_and_the_rest_is_counted():
    result = ["    code: x", "    list:", "    -   a: 1", "    msg: 'one", "        two'", "    status: failed"]
    output = "\n".join(["fatal: [localhost]: FAILED! => ", *result, "", "TASK [next]"])
    assert [plain(line) for line in shortened(lines(output))] == [
        "fatal: [localhost]: FAILED! => ",
        "    msg: 'one",
        "        two'",
        "    (4 more lines of the result)",
        "",
        "TASK [next]",
    ]


def test_a_result_at_the_end_of_the_output_is_not_lost():
    assert [plain(line) for line in shortened(lines("fatal: [x]: FAILED! =>\n    msg: y"))][-1] == "    msg: y"


def test_the_picture_is_well_formed_and_ends_at_the_last_line():
    shown = lines("<&>\x1b[32m ok\n" + "\n".join(str(number) for number in range(ROWS + 8)))
    root = ElementTree.fromstring(svg(shown).split("?>", 1)[1])
    texts = ["".join(item.itertext()) for item in root.iter(f"{SVG}text")]
    assert texts[:2] == ["$ make demo", "<&> ok"]
    style = root.findtext(f"{SVG}style") or ""
    # Two lines of the command and one of the output stand before the numbers.
    assert f".s{{transform:translateY(-{(2 + 1 + 8) * picture.LINE}px)" in style
    assert "prefers-reduced-motion" in style


def test_a_short_output_does_not_scroll():
    style = ElementTree.fromstring(svg(lines("ok")).split("?>", 1)[1]).findtext(f"{SVG}style") or ""
    assert "translateY(-0px)" in style
