"""A real browser: headless Chromium, driven by Playwright, with a record of everything that must not happen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Nothing but what a test asks for: no first-run pages, no updates, no services of the browser's own.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 390, "height": 844}


@contextmanager
def running_browser() -> Iterator[Any]:
    """Chromium with a profile of its own; the test is skipped where it, or Playwright, is not installed."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install 'eigenserve[dev]'"
    )
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Visit:
    """One visit of the page in a context of its own.

    Attributes:
        page: Playwright's page.
        troubles: errors of scripts, of the console and of the content security policy.
        foreign: addresses of other hosts that were asked.
    """

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.url = url
        self.troubles: list[str] = []
        self.foreign: list[str] = []
        self.context = browser.new_context(**{"viewport": WIDE, **options})
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)  # two busy cores may take a while
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", lambda message: self.troubles.append(message.text) if message.type == "error" else None)
        self.page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(f"{self.url}/"):
            self.foreign.append(request.url)

    def open(self, fragment: str = "") -> Any:
        """Go to the page and wait until all of it is drawn."""
        self.page.goto(f"{self.url}/{fragment}")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until nothing is asked any more and what was answered is shown."""
        self.page.locator("main[aria-busy=false]").wait_for()
