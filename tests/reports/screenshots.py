"""Screenshots of a report, for docs: ``python -m tests.reports.screenshots PAGE FOLDER``.

Writes the first screen as desk.png, phone.png, dark.png and paper.png, and sheet.png, the first
contact sheet, if the page has one.
"""

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.reports.test_browser import CHROMIUM, DESK, PHONE, QUIET

_COLOURS = 64  # of a palette, which keeps a file under 100 kB
SCREENS: dict[str, dict[str, Any]] = {
    "desk": {"size": DESK},
    "phone": {"size": PHONE},
    "dark": {"size": DESK, "scheme": "dark"},
    "paper": {"size": (800, 1130), "media": "print"},
}
SHEET = "#images + figure"


def main(page: Path, folder: Path) -> None:
    """Take all of them."""
    from playwright.sync_api import sync_playwright  # not where the oldest versions are tried

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for name, screen in SCREENS.items():
            width, height = screen["size"]
            shown = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme=screen.get("scheme", "light"),
            )
            shown.goto(page.absolute().as_uri())
            shown.emulate_media(media=screen.get("media", "screen"))
            save(shown.screenshot(), folder / f"{name}.png")
            if name == "desk" and shown.locator(SHEET).count():
                save(shown.locator(SHEET).screenshot(), folder / "sheet.png")
        browser.close()


def save(picture: bytes, path: Path) -> None:
    """Write a picture in few colours."""
    Image.open(BytesIO(picture)).convert("RGB").quantize(_COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
