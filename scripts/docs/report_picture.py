"""Take the picture of a report for docs/command_line.md: the upper part of the page, in a window as wide as a computer's.

python scripts/docs/report_picture.py runs/bundled-... [--output docs/images/report.png]

It needs Chromium and its driver.
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
from pathlib import Path

import headless

from ffrecur.errors import UserError
from ffrecur.pages.report import write_report

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 1280, 1280  # CSS pixels


def picture_of(page: Path) -> bytes:
    """Return the upper part of a page as PNG. Raises `UserError` without a browser."""
    if not headless.installed():
        raise UserError(headless.NEEDED)
    with headless.chromium() as driver:
        headless.resize(driver, WIDTH, HEIGHT)
        driver.get(page.resolve().as_uri())
        return base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", {})["data"])


def main() -> int:
    """Take the picture; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "report.png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        try:
            write_report([options.run], page)
            options.output.write_bytes(picture_of(page))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
