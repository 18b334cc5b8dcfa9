"""The page in a headless Chromium: what a visitor sees, on a desktop and on a phone."""

import json
from pathlib import Path

import pytest
from by_colour import COLOURS, make_classifier, write_picture

from fashion_transfer.benchmarks.page_browser import (
    CARD,
    DESKTOP,
    INPUT,
    PHONE,
    open_browser,
    visit,
    why_no_browser,
)

if missing := why_no_browser():
    pytest.skip(missing, allow_module_level=True)

from fashion_transfer.page import build_page, launch

pytestmark = pytest.mark.slow

HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    '"><script>alert(1)<!--.png',
    "' onerror=alert(1) '.png",
    "{{alert(1)}}${alert(1)}.png",
    "javascript:alert(1).png",
)


@pytest.fixture(scope="module")
def flags(tmp_path_factory) -> Path:
    """The folder that flagged pictures go to."""
    return tmp_path_factory.mktemp("flags")


@pytest.fixture(scope="module")
def url(make_backbone, flags):
    """Address of the page."""
    server = launch(build_page(make_classifier(make_backbone()), flags=flags), port=0)
    yield server.url
    server.close()


@pytest.fixture(scope="module")
def browser():
    with open_browser() as chromium:
        yield chromium


@pytest.fixture(params=[pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")])
def visitor(request, browser, url):
    """A visitor whose browser asks no other host, and sees no error."""
    yield from visited(browser, url, request.param)


@pytest.fixture
def at_desk(browser, url):
    """The same, where the size of the window does not matter."""
    yield from visited(browser, url, DESKTOP)


def visited(browser, url, size):
    with visit(browser, url, size) as visitor:
        yield visitor
        assert not visitor.outside
        assert not visitor.complaints


@pytest.fixture
def picture(tmp_path):
    """`picture(colour, name=...)`: writes a picture of one of `COLOURS`."""
    return lambda colour, name=None: write_picture(tmp_path / (name or f"{colour}.png"), colour)


def test_upload_shows_a_card_with_label_and_confidence(visitor, picture):
    visitor.upload([picture("red")])
    card = visitor.card("red.png")
    assert "Dress" in card.inner_text()
    assert "100" in card.inner_text() or "99" in card.inner_text()
    assert card.get_attribute("data-state") == "accepted"
    assert visitor.page.locator(CARD).count() == 1
    assert not visitor.layout_defects()


def test_bad_file_has_a_card_with_its_error_beside_the_others(visitor, picture, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    visitor.upload([picture("red"), bad, picture("green")])
    cards = visitor.page.locator(CARD)
    names = [card.get_attribute("data-name") for card in cards.all()]
    assert names == ["red.png", "bad.png", "green.png"]
    assert "Not an image that can be read" in visitor.card("bad.png").inner_text()
    assert visitor.card("bad.png").get_attribute("data-state") == "error"
    assert "Coat" in visitor.card("green.png").inner_text()
    assert not visitor.layout_defects()


def test_two_items_have_a_warning_in_words(visitor, picture):
    visitor.upload([picture("white")])
    card = visitor.card("white.png")
    assert card.get_attribute("data-state") == "warning"
    assert "The image may contain multiple items" in card.inner_text()
    assert "several items" in card.inner_text()
    assert not visitor.layout_defects()


def test_six_pictures_fit_on_desktop_and_phone(visitor, picture):
    files = [picture(colour, f"{number}-{colour}.png") for number, colour in enumerate(COLOURS)]
    files += [picture("yellow", f"{'long-name-' * 12}.png"), picture("green", "a b c.png")]
    visitor.upload(files)
    assert visitor.page.locator(CARD).count() == 6
    assert not visitor.layout_defects()


def test_dark_page_is_readable(browser, url, picture, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with visit(browser, url, scheme="dark") as visitor:
        light = "rgb(255, 255, 255)"
        body = visitor.page.locator("body")
        assert body.evaluate("node => getComputedStyle(node).backgroundColor") != light
        visitor.upload([picture("red"), picture("white"), bad])
        assert not visitor.layout_defects()


def test_next_upload_replaces_the_cards(at_desk, picture):
    at_desk.upload([picture("red"), picture("green")])
    at_desk.upload([picture("white")])
    assert at_desk.page.locator(CARD).count() == 1


def test_same_file_can_be_uploaded_twice(at_desk, picture):
    file = picture("green")
    at_desk.upload([file])
    button = at_desk.page.locator(f"{CARD} [data-picture]")
    first = button.get_attribute("data-picture")
    at_desk.upload([file])
    at_desk.page.locator(f'{CARD} [data-picture]:not([data-picture="{first}"])').wait_for()
    assert "Coat" in at_desk.card("green.png").inner_text()
    assert at_desk.page.locator(CARD).count() == 1


def test_click_on_an_example_shows_its_card(visitor):
    example = visitor.page.get_by_role("button", name="Example").first
    example.click()
    card = visitor.page.locator(CARD)
    card.first.wait_for()
    assert card.count() == 1
    assert card.get_attribute("data-state") in ("accepted", "warning")
    assert not visitor.layout_defects()


def test_flagged_picture_is_stored_with_its_label(visitor, picture, flags):
    before = set(flags.rglob("*"))
    file = picture("yellow", "flagged.png")
    visitor.upload([file])
    card = visitor.card("flagged.png")
    card.get_by_role("button", name="This is wrong").click()
    card.get_by_role("combobox").select_option("Ankle boot")
    assert not visitor.layout_defects()
    card.get_by_role("button", name="Save as wrong").click()
    card.get_by_text("Saved as wrong").wait_for()
    new = [path for path in set(flags.rglob("*")) - before if path.is_file()]
    [stored] = [path for path in new if path.suffix == ".json"]
    assert "Ankle boot" in stored.read_text("utf-8")
    assert json.loads(stored.read_text("utf-8"))
    assert file.read_bytes() in [path.read_bytes() for path in new]


def test_upload_works_by_keyboard_alone(at_desk, picture):
    with at_desk.page.expect_file_chooser() as chooser:
        for _ in range(20):
            at_desk.page.keyboard.press("Tab")
            if at_desk.page.evaluate("document.activeElement.type === 'file'"):
                break
        at_desk.page.keyboard.press("Enter")
    chooser.value.set_files(str(picture("red")))
    at_desk.card("red.png").wait_for()


def test_names_of_files_execute_nothing(at_desk, tmp_path):
    at_desk.page.on("dialog", lambda dialog: at_desk.complaints.append(f"executed: {dialog.type}"))
    at_desk.page.evaluate("window.executed = 0")
    files = [write_picture(tmp_path / name, "red") for name in HOSTILE]
    files.append(tmp_path / "<svg onload=executed=1>.png")
    files[-1].write_bytes(b"no picture")
    at_desk.page.locator(INPUT).set_input_files([str(file) for file in files])
    cards = at_desk.page.locator(CARD)
    cards.nth(len(files) - 1).wait_for()
    sent = [file.name.replace('"', "%22") for file in files]  # as browsers write it in a form
    assert [card.get_attribute("data-name") for card in cards.all()] == sent
    assert all(name in c.inner_text() for name, c in zip(sent, cards.all(), strict=True))
    assert at_desk.page.evaluate("window.executed") == 0
    assert at_desk.page.locator(f"{CARD} :is(script, svg, [onerror], [onload])").count() == 0


def test_too_many_pictures_are_refused_in_words(browser, url, picture):
    with visit(browser, url) as visitor:
        files = [picture("red", f"{number}.png") for number in range(21)]
        visitor.page.locator(INPUT).set_input_files([str(file) for file in files])
        visitor.page.get_by_text("choose at most 20").wait_for()
        assert visitor.page.locator(CARD).count() == 0
        assert not visitor.layout_defects()


def test_server_that_is_gone_is_said_in_words(browser, make_backbone, picture):
    server = launch(build_page(make_classifier(make_backbone())), port=0)
    with visit(browser, server.url) as visitor:
        server.close()
        visitor.page.locator(INPUT).set_input_files(str(picture("red")))
        visitor.page.get_by_text("still running?").first.wait_for()


def test_page_prepares_no_connection_to_another_host(at_desk):
    links = at_desk.page.locator("link[rel~=preconnect], link[rel~=dns-prefetch]")
    assert not [link.get_attribute("href") for link in links.all()]


def test_script_on_the_page_reaches_no_other_host(browser, url):
    with visit(browser, url) as visitor:
        fetched = visitor.page.evaluate("fetch('http://example.com/').catch(() => 'blocked')")
        assert fetched == "blocked"
        assert any("Content Security Policy" in text for text in visitor.complaints)
        assert not visitor.outside  # not even asked for
