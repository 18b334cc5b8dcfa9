"""What is noticed of a page in a browser: requests, complaints, and defects of its layout."""

from urllib.parse import quote

import pytest

from fashion_transfer.benchmarks import page_browser
from fashion_transfer.benchmarks.page_browser import PHONE, open_browser, visit, why_no_browser
from fashion_transfer.errors import FashionTransferError

pytestmark = pytest.mark.slow

needs_browser = pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser())

NARROW = "width: 60px; white-space: nowrap;"

DEFECTS = {
    "scrolls sideways": "<div style='width: 900px'>wide</div>",
    "beyond the window": "<p style='position: absolute; left: 380px'>a long sentence</p>",
    "cut off": f"<p style='{NARROW} overflow: hidden'>a sentence that is long</p>",
    "overlap": "<p>some words here</p><p style='margin-top: -2em'>other words there</p>",
    "contrast 1.6": "<p style='color: #cccccc'>pale</p>",
    "letters of 9 px": "<p style='font-size: 9px'>tiny</p>",
    "no alt text": "<img width=20 src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA='>",
    "not drawn": "<img alt='a cat' src='data:image/png;base64,AAAA'>",
}

FINE = """
    <p style="color: #666">Grey is dark enough.</p>
    <p style="overflow: auto; white-space: nowrap">This one can be scrolled, however long it is.</p>
    <p style="position: absolute; width: 1px; height: 1px; overflow: hidden">for readers</p>
    <p style="visibility: hidden; margin-bottom: -2em">nobody sees it</p>
    <div style="display: flex"><span>one</span><span>beside the other</span></div>
"""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as chromium:
        yield chromium


@pytest.fixture
def show(browser):
    """`show(body)`: a visit of a page on a phone, and its layout's defects."""

    def visited(body: str) -> tuple[list[str], page_browser.Visit]:
        head = "<meta name=viewport content='width=device-width'><input type=file>"
        address = f"data:text/html,{quote(f'<!doctype html>{head}<body>{body}')}"
        with visit(browser, address, PHONE) as visitor:
            return visitor.layout_defects(), visitor

    return visited


@needs_browser
@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_of_the_layout_is_noticed(show, defect):
    defects, _ = show(DEFECTS[defect])
    assert any(text.startswith(defect) for text in defects), defects


@needs_browser
def test_layout_without_defects_has_none(show):
    assert show(FINE)[0] == []


@needs_browser
def test_requests_of_other_hosts_and_errors_of_scripts_are_noted(show):
    _, visitor = show("<img alt='' src='http://example.com/a.png'><script>oops()</script>")
    assert visitor.outside == ["http://example.com/a.png"]
    assert any("oops is not defined" in text for text in visitor.complaints)


def test_missing_browser_is_one_line(monkeypatch):
    monkeypatch.setattr(page_browser, "PROGRAMS", ("no-such-program",))
    monkeypatch.setattr(page_browser, "find_spec", lambda name: object())
    with pytest.raises(FashionTransferError, match="install Chromium"), open_browser():
        pass
    monkeypatch.setattr(page_browser, "find_spec", lambda name: None)
    assert "pip install playwright" in why_no_browser()
