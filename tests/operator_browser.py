"""What an operator does in the pages of Prefect and MLflow, for Playwright and Debian's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Locator, Page, Route, sync_playwright

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FOLDER = Path(os.environ.get("STVD_UI_SCREENSHOTS", Path(__file__).parents[1] / "ui-screenshots"))
PATIENCE = 300_000  # milliseconds, for a machine that is busy
PALETTE = 192  # colours of a kept picture


class Tab:
    """One tab that reaches this machine alone.

    Attributes
    ----------
    refused : hosts elsewhere that a page asked for
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.refused: set[str] = set()
        page.set_default_timeout(PATIENCE)
        page.route("**/*", self._on_loopback)

    def _on_loopback(self, route: Route) -> None:
        host = urlsplit(route.request.url).hostname
        if host == "127.0.0.1":
            route.continue_()
        else:
            self.refused.add(str(host))
            route.abort()

    def see(self, text: str, *, exact: bool = False) -> Locator:
        """Wait for a text, and where it is."""
        found = self.page.get_by_text(text, exact=exact).locator("visible=true").first
        found.wait_for()
        return found

    def picture(self, name: str) -> None:
        """Keep what is shown."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        with Image.open(BytesIO(self.page.screenshot(animations="disabled"))) as shown:
            small = shown.convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)
            small.save(FOLDER / f"{name}.png", optimize=True)

    def field(self, name: str) -> Locator:
        """A field of Prefect's form, with its description."""
        label = self.page.get_by_text(f"{name} (Optional)", exact=True)
        return self.page.locator("div.group").filter(has=label)

    def fill(self, **values: str) -> None:
        """Type values into fields of the form; one that may be left empty asks for its type first."""
        for name, value in values.items():
            field = self.field(name)
            field.wait_for()
            if field.get_by_role("tab").count():
                field.get_by_role("tab").first.click()
            box = field.locator("input, textarea")
            box.clear()
            box.press_sequentially(value)

    def submit(self) -> None:
        """Send the form and open the page of its run.

        On SQLite and a busy machine the server may say that its database is locked: then once more.
        """
        view = self.page.get_by_role("button", name="View run")
        error = self.page.get_by_text("Unknown error while creating flow run")
        for _ in range(5):
            self.page.get_by_role("button", name="Submit", exact=True).click()
            view.or_(error).first.wait_for()
            if view.is_visible():
                break
            error.wait_for(state="hidden")
        view.click()


@contextmanager
def open_tab() -> Iterator[Tab]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=PROGRAM, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield Tab(chromium.new_page(viewport={"width": 1200, "height": 900}))
        finally:
            chromium.close()
