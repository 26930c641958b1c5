"""A headless Chromium for the slow tests of pages: what a page shows, says in its console and fetches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (1280, 390)  # of a desktop's window and a phone's, in CSS pixels


@contextmanager
def chromium() -> Iterator[Any]:
    """A Selenium driver of Chromium; the test is skipped where browser or driver is not installed."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs Chromium and its driver: Debian's packages chromium and chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


def open_page(driver: Any, page: Path, width: int = WIDTHS[0], scripts: bool = True) -> None:
    """Open a file in a window of this width, without its scripts if so asked."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    driver.get(page.resolve().as_uri())


def complaints(driver: Any) -> list[str]:
    """What the console says since the last call: warnings and errors."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def fetched(driver: Any) -> list[str]:
    """What pages asked for since the last call, but for files and what lies in the page itself."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


def too_wide(driver: Any) -> int:
    """How many pixels of the page lie to the right of the window."""
    return int(driver.execute_script("return document.scrollingElement.scrollWidth - window.innerWidth"))
