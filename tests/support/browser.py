# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium of the system, driven by its own chromedriver; nothing is downloaded, and nothing kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

NEEDED = "Chromium and its driver (Debian: apt-get install chromium chromium-driver)"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
    "--lang=en",
)


def programs() -> tuple[str, str] | None:
    """Where Chromium and its driver are; None if one of them is missing."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextlib.contextmanager
def chromium(width: int = 1280, height: int = 900) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own, ended and forgotten afterwards."""
    found = programs()
    if found is None:
        raise RuntimeError(f"needs {NEEDED}")
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    # An alert must be seen by the test, not closed for it.
    options.set_capability("unhandledPromptBehavior", "ignore")
    with tempfile.TemporaryDirectory(prefix="chromium.", ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        # The driver's path is given, so that selenium looks for none in the net.
        service = Service(executable_path=found[1], env={**os.environ, "SE_OFFLINE": "true", "SE_AVOID_STATS": "true"})
        driver = webdriver.Chrome(options=options, service=service)
        try:
            # Away from the browser's own first page, and nothing of it in the logs.
            driver.get("about:blank")
            for name in ("performance", "browser"):
                driver.get_log(name)
            yield driver
        finally:
            driver.quit()


def requested(driver: webdriver.Chrome) -> list[str]:
    """The addresses that the browser asked for since the last call, as its own network layer logged them."""
    found = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
    return found


def complaints(driver: webdriver.Chrome) -> list[str]:
    """What the console says since the last call: errors of scripts, and what the content security policy refused."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def prefer(driver: webdriver.Chrome, scheme: str) -> None:
    """Let the system prefer "light" or "dark"."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def resize(driver: webdriver.Chrome, width: int, height: int, mobile: bool = False) -> None:
    """The size of the page's window, as a phone has it if wanted."""
    metrics: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def open_page(driver: webdriver.Chrome, path: Path) -> None:
    """Open a file and wait until its script has run."""
    driver.get(path.as_uri())
    if driver.execute_script("return document.documentElement.dataset.ready") != "true":
        raise AssertionError(f"the page's script did not come to its end: {complaints(driver)}")
