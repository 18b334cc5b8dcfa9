"""What the page shows of predictions, as HTML. All text in it is escaped."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from fashion_transfer.confidence import Prediction
from fashion_transfer.confidence.decision import MULTI_ITEM
from fashion_transfer.data.preparation import AS_IT_IS, CUT_OUT, PLAIN_GROUND
from fashion_transfer.page.predictor import Shown
from fashion_transfer.reporting.tables import WARNING_SIGN, printable

MAX_BARS = 10
"""Classes with a bar; that of several items comes on top of them."""

MIN_FILL = 0.005
"""Probability from which a bar is filled: less is no more than a speck."""

TREATMENTS = {
    AS_IT_IS: "taken as it is",
    PLAIN_GROUND: "item taken from its plain ground",
    CUT_OUT: "item cut out of the picture",
}
"""What was done to a picture, in words."""


def cards(shown: Sequence[Shown], class_names: Sequence[str], set_id: str, flags: bool) -> str:
    """Returns a summary and a card per picture, in their order.

    Args:
        shown: predictions and pictures.
        class_names: by label.
        set_id: of this set of pictures, for the page's script.
        flags: whether predictions can be flagged.
    """
    entries = [
        _card(picture, class_names, f"{set_id}/{row}" if flags else "")
        for row, picture in enumerate(shown)
    ]
    return (
        f'<p class="ft-summary" role="status">{escape(summary(shown))}</p>'
        f'<div class="ft-cards">{"".join(entries)}</div>'
    )


def summary(shown: Sequence[Shown]) -> str:
    """Returns in words how many pictures there are, with a warning and unread."""
    predictions = [picture.result.prediction for picture in shown]
    unread = sum(p is None for p in predictions)
    warned = sum(p is not None and p.warning for p in predictions)
    if len(shown) == 1:
        return "1 file, could not be read" if unread else f"1 picture{', with a warning' * warned}"
    text = f"{len(shown)} pictures"
    if warned:
        text += f", {warned} with a warning"
    return f"{text}, {unread} could not be read" if unread else text


def _card(shown: Shown, class_names: Sequence[str], flag: str) -> str:
    result, name = shown.result, escape(printable(Path(shown.result.path)))
    p = result.prediction
    if p is None:
        error = escape(f"{result.error[:1].upper()}{result.error[1:]}.")
        return (
            f'<article class="card" data-state="error" data-name="{name}">'
            f'<p class="ft-name">{name}</p><h3 class="ft-label">Could not be read</h3>'
            f'<p class="message">{error}</p></article>'
        )
    state = "warning" if p.warning else "accepted"
    treatment = escape(TREATMENTS.get(p.prepared, p.prepared))
    tiny = " ft-tiny" if shown.prepared.startswith("data:image/png") else ""
    button = ""
    if flag:
        button = (
            f'<button type="button" class="ft-wrong" data-picture="{escape(flag)}">'
            "This is wrong</button>"
        )
    return (
        f'<article class="card" data-state="{state}" data-name="{name}">'
        f'<p class="ft-name">{name}</p>'
        '<div class="ft-pictures">'
        f'<figure><img src="{shown.picture}" alt="The picture {name}">'
        "<figcaption>The picture</figcaption></figure>"
        f'<figure><img class="ft-seen{tiny}" src="{shown.prepared}" '
        f'alt="What the classifier saw of {name}">'
        f"<figcaption>What the classifier saw: {treatment}</figcaption></figure></div>"
        f"{_heading(p)}{_warning(p)}{_bars(p, class_names)}{button}</article>"
    )


def _heading(p: Prediction) -> str:
    """The label and its confidence; of several items, these, with the label below."""
    label, confidence, below = p.label, p.confidence, ""
    if p.reason == MULTI_ITEM:
        below = f'<p class="ft-below">As one item: {escape(label)} {percent(confidence)}</p>'
        label, confidence = MULTI_ITEM.capitalize(), p.probabilities[-1]
    return (
        f'<h3 class="ft-label">{escape(label)} <span class="confidence">{percent(confidence)}'
        f"</span></h3>{below}"
    )


def _warning(p: Prediction) -> str:
    if not p.warning:
        return '<p class="ft-note ft-fine"><span aria-hidden="true">✓</span> No warning</p>'
    reason, message = escape(p.reason), escape(p.message)
    return (
        f'<p class="ft-note message"><strong><span aria-hidden="true">{WARNING_SIGN}</span> '
        f"Warning: {reason}.</strong> {message}</p>"
    )


def _bars(p: Prediction, class_names: Sequence[str]) -> str:
    """A list of the most probable classes and of several items, most probable first."""
    values = sorted(zip(class_names, p.probabilities, strict=False), key=lambda v: -v[1])
    rows, rest = values[:MAX_BARS], values[MAX_BARS:]
    if len(p.probabilities) > len(class_names):
        rows = sorted([*rows, (MULTI_ITEM, p.probabilities[-1])], key=lambda v: -v[1])
    more = ""
    if rest:
        together = percent(sum(value for _, value in rest))
        more = f'<p class="ft-more">and {len(rest)} more classes, {together} together</p>'
    bars = "".join(_bar(name, value) for name, value in rows)
    return f'<ul class="ft-bars" aria-label="Probabilities">{bars}</ul>{more}'


def _bar(name: str, value: float) -> str:
    fill = f'<span style="width:{100 * value:.1f}%"></span>' if value >= MIN_FILL else ""
    return (
        f'<li class="bar{" ft-multi" if name == MULTI_ITEM else ""}">'
        f'<span class="ft-class">{escape(name)}</span>'
        f'<span class="ft-track" aria-hidden="true">{fill}</span>'
        f'<span class="ft-value">{percent(value)}</span></li>'
    )


def percent(value: float) -> str:
    """Returns a probability in per cent, as people read it: never 0 or 100 unless it is."""
    if 0 < value < 0.005:
        return "&lt;1%"
    if 0.995 <= value < 1:
        return "&gt;99%"
    return f"{value:.0%}"
