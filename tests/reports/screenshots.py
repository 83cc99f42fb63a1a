"""Screenshots of a report, for docs: ``python -m tests.reports.screenshots PAGE FOLDER``.

Writes desk.png, phone.png, dark.png and paper.png, each the first screen.
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
            picture = Image.open(BytesIO(shown.screenshot())).convert("RGB")
            picture.quantize(_COLOURS).save(folder / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
