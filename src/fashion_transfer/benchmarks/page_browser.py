"""The page in a headless Chromium of this machine, which reaches nothing but 127.0.0.1.

Playwright drives the browser that is installed; it downloads none.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from fashion_transfer.benchmarks.page_layout import LAYOUT_DEFECTS
from fashion_transfer.errors import FashionTransferError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Request

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
"""Names of a Chromium, the first that is installed is used."""

HOST = "127.0.0.1"
"""The only one that the browser can reach."""

ARGUMENTS = (
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
    "--no-proxy-server",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
)

DESKTOP, PHONE = (1280, 800), (390, 844)
"""Width and height of a window, CSS pixels."""

Scheme = Literal["light", "dark"]

TIMEOUT = 30_000
"""Milliseconds that anything may take, on a machine that does much else."""

INPUT = "input[type=file]"
CARD = "article.card"
"""Of one uploaded file."""


def why_no_browser() -> str:
    """Returns what is missing for a browser, in one line; empty if nothing is."""
    if find_spec("playwright") is None:
        return "playwright is not installed: run `pip install playwright`"
    if not _program():
        return f"none of {', '.join(PROGRAMS)} is installed: install Chromium"
    return ""


@contextmanager
def open_browser(arguments: Sequence[str] = ()) -> Iterator["Browser"]:
    """Yields a headless Chromium, which ends with the block.

    Args:
        arguments: more of its command line.

    Raises:
        FashionTransferError: playwright or Chromium is missing.
    """
    if missing := why_no_browser():
        raise FashionTransferError(missing)
    from playwright.sync_api import sync_playwright  # an extra of the tests and of this benchmark

    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_program(), args=[*ARGUMENTS, *as_root, *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One visitor's look at the page: what it shows, what it asks for, what it complains of.

    Args:
        page: in a browser, still empty.
        url: of the page.

    Attributes:
        outside: addresses that the browser asked another host for.
        complaints: errors and warnings in the browser's console, and what scripts failed with.
    """

    def __init__(self, page: "Page", url: str) -> None:
        self.page = page
        self.outside: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(TIMEOUT)
        page.on("request", self._note)
        page.on("console", lambda message: self._complain(message.type, message.text))
        page.on("pageerror", lambda error: self._complain("error", str(error)))
        page.goto(url)
        page.locator(INPUT).first.wait_for(state="attached")

    def _note(self, request: "Request") -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and address.hostname != HOST:
            self.outside.append(request.url)

    def _complain(self, level: str, text: str) -> None:
        if level in ("error", "warning"):
            self.complaints.append(f"{level}: {text}")

    def card(self, name: str) -> "Locator":
        """Returns the card of an uploaded file, by its name."""
        return self.page.locator(f"{CARD}[data-name={_css_string(name)}]")

    def upload(self, files: Sequence[Path]) -> None:
        """Chooses files, as in the browser's own dialog, and waits for the card of each."""
        self.page.locator(INPUT).first.set_input_files([str(file) for file in files])
        for file in files:
            self.card(file.name).first.wait_for()

    def layout_defects(self) -> list[str]:
        """Returns what is cut off, overlaps, reaches beyond the window or is hard to read."""
        self.wait_until_still()
        defects: list[str] = self.page.evaluate(LAYOUT_DEFECTS)
        return defects

    def wait_until_still(self) -> None:
        """Waits until every picture is drawn and nothing moves any more."""
        self.page.evaluate(
            """async () => {
                await document.fonts.ready;
                await Promise.all([...document.images].map(image => image.decode().catch(() => 0)));
                const ending = document.getAnimations().filter(
                    each => Number.isFinite(each.effect?.getComputedTiming().endTime ?? Infinity));
                await Promise.all(ending.map(each => each.finished.catch(() => 0)));
                await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            }"""
        )

    def screenshot(self, path: Path) -> None:
        """Writes the whole page to a PNG file, not only what the window shows of it.

        The window grows to it: Chromium's own pictures of whole pages forget that a phone is one.
        """
        self.wait_until_still()
        self.page.mouse.move(0, 0)
        window = self.page.viewport_size
        assert window is not None
        height: int = self.page.evaluate("document.documentElement.scrollHeight")
        self.page.set_viewport_size(
            {"width": window["width"], "height": max(height, window["height"])}
        )
        self.page.screenshot(path=path)
        self.page.set_viewport_size(window)


@contextmanager
def visit(
    browser: "Browser", url: str, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light"
) -> Iterator[Visit]:
    """Yields a new visitor's look at the page.

    Args:
        browser: of `open_browser`.
        url: of the page.
        size: of the window; a phone's touches.
        scheme: of colours, as the visitor's system has it.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        has_touch=size == PHONE,
        is_mobile=size == PHONE,
        reduced_motion="reduce",
    )
    try:
        yield Visit(context.new_page(), url)
    finally:
        context.close()


def _program() -> str | None:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def _css_string(text: str) -> str:
    """Returns a text as a string in a CSS selector."""
    escaped = (c if c.isalnum() else f"\\{ord(c):x} " for c in text)
    return f'"{"".join(escaped)}"'
