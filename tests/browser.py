"""A headless Chromium for the slow tests of pages: what a page shows, says in its console and fetches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import headless
import pytest

WIDTHS = (1280, 390)  # of a desktop's window and a phone's, in CSS pixels


@contextmanager
def chromium() -> Iterator[Any]:
    """A Selenium driver of Chromium; the test is skipped where browser or driver is not installed."""
    if not headless.installed():
        pytest.skip(headless.NEEDED)
    with headless.chromium() as opened:
        yield opened


def open_page(driver: Any, page: Path, width: int = WIDTHS[0], scripts: bool = True) -> None:
    """Open a file in a window of this width, without its scripts if so asked."""
    headless.resize(driver, width, 900)
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
