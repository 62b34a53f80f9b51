# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the role drift_report in a real browser: what it shows, what it lets one do, and that it keeps to itself."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="needs selenium (tests/requirements.txt)")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.select import Select

from ansible_collections.dirsync.authentik.plugins.plugin_utils.drift_report import as_page, build
from tests.support.browser import NEEDED, chromium, complaints, open_page, prefer, programs, requested, resize
from tests.support.drift import HOSTILE, dataset, document, drift, in_sync, report

pytestmark = pytest.mark.skipif(programs() is None, reason=f"the drift page is not looked at: it needs {NEEDED}")

MANY = 10_000
USER = "authentik.core.models.User"


@pytest.fixture(scope="module")
def page(tmp_path_factory, sandboxes) -> Path:
    """What the role makes of drift of every kind, with a safety limit exceeded."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "dataset.json").write_text(json.dumps(dataset()))
    with sandboxes(dataset=folder / "dataset.json") as sandbox:
        in_sync(sandbox)
        drift(sandbox)
        done = report(sandbox, folder / "page.html", {"drift_report_safety_limits": {"suspensions": "0"}})
        assert done.returncode == 0, done.stdout[-4000:]
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def opened(browser, page) -> WebDriver:
    resize(browser, 1280, 900)
    prefer(browser, "light")
    open_page(browser, page)
    return browser


def texts(driver: WebDriver, selector: str) -> list[str]:
    """What elements show, in one call: the page may replace them meanwhile. Nothing for those that are hidden."""
    look = "return Array.from(document.querySelectorAll(arguments[0])).map(n => n.checkVisibility() ? n.innerText.trim() : '')"
    return [" ".join(text.split()) for text in driver.execute_script(look, selector)]


def names(driver: WebDriver) -> list[str]:
    return driver.execute_script("return Array.from(document.querySelectorAll('#rows .name')).map(n => n.textContent)")


def finish(driver: WebDriver, selector: str, expected: Any) -> None:
    """Wait until elements have the expected texts; typing is taken up after a moment."""
    until = time.monotonic() + 5
    while texts(driver, selector) != expected:
        assert time.monotonic() < until, (texts(driver, selector), expected)
        time.sleep(0.02)


def test_it_shows_the_numbers_of_the_run(opened, page):
    found = document(page)
    shown = {
        item.get_attribute("data-outcome"): item.find_element(By.CLASS_NAME, "number").text
        for item in opened.find_elements(By.CSS_SELECTOR, "button.tile")
    }
    for outcome in ("created", "updated", "suspended", "deleted"):
        assert shown[outcome] == str(sum(kind[outcome] for kind in found["counts"].values())), outcome
    assert shown["failed"] == str(found["failed_total"]) == "1"
    assert shown["orphan"] == "1"
    opened.find_element(By.CSS_SELECTOR, "#numbers-details summary").click()
    rows = {row[0]: row[1:] for row in (line.rsplit(" ", 2) for line in texts(opened, "#numbers tbody tr"))}
    for label, name in (("listed by authentik", "total"), ("in sync", "unchanged"), ("would be updated", "updated")):
        assert rows[label] == [str(found["counts"][kind][name]) for kind in ("users", "groups")], label
    assert texts(opened, "#headline") == [found["headline"]]
    assert texts(opened, "#reason") == [found["msg"]]
    assert texts(opened, "#state") == ["Stopped by a safety limit"]
    assert "provider gws <b>" in opened.find_element(By.ID, "meta").text
    assert found["authentik"] in opened.find_element(By.ID, "meta").text
    assert len(names(opened)) == len(found["objects"])
    limits = texts(opened, "#limits tbody tr")
    assert len(limits) == len(found["safety_limits"])
    assert limits[0].startswith("accounts would be suspended or archived 1 ") and limits[0].endswith("exceeded")
    assert [item for item in texts(opened, "#mappings-details") if item]


def test_filters_and_sorting(opened, page):
    objects = document(page)["objects"]
    opened.find_element(By.CSS_SELECTOR, "button.tile[data-outcome=suspended]").click()
    assert names(opened) == ["person5"]
    assert Select(opened.find_element(By.ID, "outcome")).first_selected_option.text == "would be suspended (1)"
    opened.find_element(By.ID, "reset").click()
    finish(opened, "#shown", [f"{len(objects)} rows"])
    Select(opened.find_element(By.ID, "kind")).select_by_value("group")
    groups = [item["name"] for item in objects if item["type"] == "group"]
    assert sorted(names(opened)) == sorted(groups)
    Select(opened.find_element(By.ID, "outcome")).select_by_value("created")
    assert names(opened) == []
    assert texts(opened, "#none") == ["No object matches the filters."]
    opened.find_element(By.ID, "reset").click()
    search = opened.find_element(By.ID, "text")
    search.send_keys("elsewhere.TEST invalid")
    finish(opened, "#rows .name", ["outsider"])
    assert texts(opened, "#shown") == [f"1 row, filtered from {len(objects)}"]
    search.send_keys(Keys.CONTROL, "a")
    search.send_keys(Keys.DELETE)
    finish(opened, "#shown", [f"{len(objects)} rows"])
    heading = opened.find_element(By.CSS_SELECTOR, "[data-sort=n]")
    heading.send_keys(Keys.ENTER)
    upwards = names(opened)
    assert heading.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    plain = [name for name in upwards if name.startswith("person")]
    assert plain == sorted(plain, key=lambda name: int(name.removeprefix("person")))
    heading.send_keys(Keys.ENTER)
    assert heading.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    assert names(opened) == upwards[::-1]
    assert complaints(opened) == []


def test_hostile_names_stay_text(opened, page):
    rows = names(opened)
    for name in HOSTILE:
        shown = name.replace("\u202e", "⟨U+202E⟩").replace("\u2066", "⟨U+2066⟩").replace("\u2028", "⟨U+2028⟩")
        assert shown in rows, name
    assert opened.execute_script("return document.title") == "Directory drift report"
    # An alert would have been left open, and would fail each of these calls.
    count = "return [document.scripts.length, document.querySelectorAll('img, svg, b, iframe, object, embed, link, base').length]"
    assert opened.execute_script(count) == [2, 0]
    assert opened.execute_script("return Array.from(document.links).map(l => l.href)") == [page.as_uri() + "#list"]
    assert complaints(opened) == []


def test_nothing_is_fetched_and_nothing_could_be(browser, page):
    asked = []

    class Ear(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # Those of earlier pages are not meant.
        requested(browser), complaints(browser)
        open_page(browser, page)
        assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
        assert requested(browser) == [page.as_uri()]
        assert complaints(browser) == []
        # Would the policy hold, if something got through? What tries is refused, and told.
        browser.execute_script(
            """
            window.refused = [];
            document.addEventListener('securitypolicyviolation', e => window.refused.push(e.effectiveDirective));
            var image = new Image(); image.src = arguments[0] + '/image'; document.body.append(image);
            var style = document.createElement('link'); style.rel = 'stylesheet'; style.href = arguments[0] + '/style';
            document.head.append(style);
            var script = document.createElement('script'); script.textContent = 'window.ran = true';
            document.body.append(script);
            var inline = document.createElement('div'); inline.innerHTML = '<p onclick="window.ran = true">x</p>';
            document.body.append(inline); inline.firstChild.click();
            fetch(arguments[0] + '/fetch').catch(function () {});
            """,
            f"http://127.0.0.1:{server.server_address[1]}",
        )
        until = time.monotonic() + 5
        expected = {"img-src", "style-src-elem", "script-src-elem", "script-src-attr", "connect-src"}
        while set(browser.execute_script("return window.refused")) != expected:
            assert time.monotonic() < until, browser.execute_script("return window.refused")
            time.sleep(0.05)
        server.shutdown()
    assert browser.execute_script("return window.ran") is None
    assert asked == []
    complaints(browser)


def test_light_and_dark(opened, page):
    def colours() -> tuple[str, str]:
        look = "var s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        background, text = opened.execute_script(look)
        return background, text

    light = colours()
    prefer(opened, "dark")
    dark = colours()
    assert light[0] != dark[0] and light[1] != dark[1]
    theme = Select(opened.find_element(By.ID, "theme"))
    theme.select_by_value("light")
    assert colours() == light
    prefer(opened, "light")
    theme.select_by_value("dark")
    assert colours() == dark
    theme.select_by_value("")
    assert colours() == light


CONTRAST = """
function light(text) {
  var parts = text.match(/[\\d.]+/g).map(Number).slice(0, 3).map(function (value) {
    value /= 255; return value <= 0.04045 ? value / 12.92 : Math.pow((value + 0.055) / 1.055, 2.4);
  });
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
}
function ground(node) {
  for (; node; node = node.parentElement) {
    var colour = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$/.test(colour)) { return colour; }
  }
  return 'rgb(255, 255, 255)';
}
document.querySelectorAll('details').forEach(function (node) { node.open = true; });
return Array.from(document.querySelectorAll('#page *')).filter(function (node) {
  return node.checkVisibility() && !node.disabled && Array.from(node.childNodes).some(function (child) {
    return child.nodeType === 3 && child.textContent.trim();
  });
}).map(function (node) {
  var one = light(getComputedStyle(node).color), other = light(ground(node));
  return [(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), node.tagName + '.' + node.className];
}).filter(function (pair) { return pair[0] < 4.5; });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(opened, scheme):
    prefer(opened, scheme)
    assert opened.execute_script(CONTRAST) == []


def test_labels_and_semantics(opened):
    """What a screen reader is given: a name for each control, a heading for each section, a table that is one."""
    tree = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles: dict[str, list[str]] = {}
    for node in tree:
        if not node.get("ignored"):
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    for role in ("button", "combobox", "searchbox", "link", "heading", "columnheader"):
        assert roles[role] and all(roles[role]), (role, roles.get(role))
    assert {"Search", "Kind", "What would happen", "Colours"} <= {*roles["combobox"], *roles["searchbox"]}
    assert {"main", "banner", "contentinfo", "search", "table", "status"} <= set(roles)
    assert opened.execute_script("return document.documentElement.lang") == "en"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_makes_it_scroll_sideways(opened, width):
    resize(opened, width, 800, mobile=width < 500)
    opened.execute_script("document.querySelectorAll('details').forEach(function (node) { node.open = true; })")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    if width < 500:
        # Cards instead of a table, which still is one for a screen reader.
        assert opened.execute_script("return getComputedStyle(document.querySelector('#rows tr')).display") == "block"
        roles = [node["role"]["value"] for node in opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]]
        assert {"table", "row", "cell"} <= set(roles)


def test_paper(opened, page):
    """Printed, it has all rows, and none of the controls."""
    pdf = opened.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    assert len(pdf) > 10_000
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
        shown = {
            name: opened.find_element(By.ID, name).is_displayed() for name in ("filters", "print", "objects", "limits")
        }
        assert shown == {"filters": False, "print": False, "objects": True, "limits": True}
        assert len(names(opened)) == len(document(page)["objects"])
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_without_script_the_numbers_are_there(browser, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        text = browser.find_element(By.TAG_NAME, "noscript").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    found = document(page)
    assert found["headline"] in text
    assert f"unchanged: {found['counts']['users']['unchanged']}" in text


def test_ten_thousand_rows(browser, tmp_path):
    change = [{"path": "name.givenName", "before": "Before", "after": "After"}]
    lines = [
        {
            "kind": "object",
            "model": USER,
            "pk": str(number),
            "name": f"person{number}",
            "google_id": f"p{number}@example.com",
        }
        | {"status": "synced", "action": "updated", "changes": change}
        for number in range(MANY)
    ]
    counts = {"users": {"total": MANY, "updated": MANY, "unchanged": 0}}
    result = {"status": "synced", "counts": counts, "changes_total": MANY, "failed_total": 0}
    path = tmp_path / "many.html"
    path.write_text(as_page(build(result, "\n".join(map(json.dumps, lines)), "Many")))
    resize(browser, 1280, 900)
    began = time.monotonic()
    open_page(browser, path)
    assert time.monotonic() - began < 10
    assert texts(browser, "#shown") == ["Rows 1 to 100 of 10,000 rows"]
    assert len(names(browser)) == 100
    # How long the page is busy with it, so that neither typing nor a click hangs.
    busy = "var t = performance.now(); document.querySelector(arguments[0]).click(); return performance.now() - t"
    assert browser.execute_script(busy, "[data-sort=n]") < 1000
    assert names(browser)[:3] == ["person0", "person1", "person2"]
    assert browser.execute_script(busy, "#last") < 1000
    assert names(browser)[-1] == f"person{MANY - 1}"
    assert texts(browser, "#where") == ["Page 100 of 100"]
    browser.find_element(By.ID, "text").send_keys("person4711")
    finish(browser, "#rows .name", ["person4711"])
    assert texts(browser, "#shown") == ["1 row, filtered from 10,000"]
    assert complaints(browser) == []


def test_no_drift_and_no_comparison(browser, tmp_path):
    counts = {"users": {"total": 5, "unchanged": 5}}
    for result, state, said in (
        (
            {"status": "unchanged", "counts": counts, "changes_total": 0, "failed_total": 0},
            "In sync",
            "Nothing would change.",
        ),
        (
            {"status": "failed", "msg": "Google <i>refused</i>.", "code": "google_forbidden", "counts": None},
            "Not compared",
            "The comparison did not finish: there is nothing to list.",
        ),
    ):
        path = tmp_path / "page.html"
        path.write_text(as_page(build(result, "", "Title")))
        open_page(browser, path)
        assert texts(browser, "#state") == [state]
        assert texts(browser, "#none") == [said]
        assert texts(browser, "#reason") == ([result["msg"]] if "msg" in result else [""])
        assert complaints(browser) == []
