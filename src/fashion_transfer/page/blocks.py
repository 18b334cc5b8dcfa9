"""The page as Gradio has it: an upload area, cards with predictions, and a JSON endpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fashion_transfer.confidence.decision import MULTI_ITEM
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.models import Classifier
from fashion_transfer.page.cards import cards
from fashion_transfer.page.environment import import_gradio
from fashion_transfer.page.flags import Flags
from fashion_transfer.page.guard import TOKEN
from fashion_transfer.page.markup import NONE_OF_THESE, Example, page_markup, read_asset
from fashion_transfer.page.predictor import Predictor, Shown
from fashion_transfer.page.uploads import Uploads, own_name
from fashion_transfer.paths import user_path
from fashion_transfer.reporting import ImagePrediction
from fashion_transfer.reporting.predictions import as_row

QUEUE = "classifier"
"""Page and endpoint wait in one queue."""

RUNNING = 2
"""Requests whose pictures are read or predicted at once; the model itself has one at a time."""

MAX_WAITING = 32
"""Requests in the queue."""

MAX_SESSIONS = 64
"""Browsers and clients that Gradio remembers; the oldest is forgotten first."""

FAILED = "() => { window.dispatchEvent(new Event('ft-failed')); }"
"""In the browser, where a request fails: the page's script waits for it."""

MAX_ERROR = 300
"""Letters of an error that the browser reports, such as of an upload that was refused."""


def build_page(
    classifier: Classifier,
    *,
    checkpoint: str | Path | None = None,
    flags: str | Path | None = None,
    max_pictures: int = 20,
    max_megabytes: float = 50,
    examples: Sequence[Example] | None = None,
) -> Any:
    """Returns the page of a classifier: `gradio.Blocks`, for `launch`.

    Args:
        classifier: on its device.
        checkpoint: the file it comes from, for those who read flagged predictions later.
        flags: folder for predictions that a person flags as wrong; None: nobody can.
        max_pictures: of a request.
        max_megabytes: of a picture.
        examples: pictures to click; None: those of the package.

    Raises:
        ArgumentError: a limit is not possible.
        FashionTransferError: Gradio is not installed.
    """
    if not isinstance(max_pictures, int) or max_pictures < 1:
        raise ArgumentError("max_pictures", f"must be a whole number from 1, got {max_pictures!r}")
    if not isinstance(max_megabytes, int | float) or not max_megabytes > 0:
        raise ArgumentError("max_megabytes", f"must be a number over 0, got {max_megabytes!r}")
    gr = import_gradio()
    source = None if checkpoint is None else user_path(checkpoint)
    folder = Flags(user_path(flags), source) if flags is not None else None
    page = Page(classifier, folder, max_pictures, max_megabytes)
    labels = [*classifier.class_names, *([MULTI_ITEM] if classifier.multi_item else [])]
    markup = page_markup(
        classifier.class_names,
        labels if folder is not None else (),
        max_pictures,
        max_megabytes,
        examples,
    )
    waiting = {"concurrency_id": QUEUE, "concurrency_limit": RUNNING}
    silent = {"api_visibility": "private", "trigger_mode": "multiple", **waiting}

    def predict(files: list[Any]) -> list[dict[str, Any]]:
        """Predicts pictures: an object of predictions.json for each, in the order of the files."""
        return page.rows(files)

    # What Gradio's clients go by: they upload the files then.
    predict.__annotations__["files"] = list[gr.FileData]  # type: ignore[name-defined]
    with gr.Blocks(title="Fashion Transfer", analytics_enabled=False) as blocks:
        picker = gr.HTML(
            html_template=markup,
            js_on_load=read_asset("page.js"),
            elem_id="ft-picker",
            apply_default_css=False,
        )
        results = gr.HTML(elem_id="ft-results", js_on_load=None, apply_default_css=False)
        gr.HTML(
            html_template=read_asset("program.html"),
            js_on_load=read_asset("program.js"),
            elem_id="ft-program",
            apply_default_css=False,
        )
        shown = picker.submit(
            page.show,
            picker,
            [results, picker],
            show_progress="minimal",
            show_progress_on=results,
            **silent,
        )
        shown.failure(None, js=FAILED)
        picker.wrong(page.flag, picker, picker, show_progress="hidden", **silent)
        gr.api(predict, api_name="predict", **waiting)
    blocks.queue(max_size=MAX_WAITING, api_open=False)
    blocks.state_session_capacity = MAX_SESSIONS
    blocks.fashion_transfer = page
    return blocks


class Page:
    """What the page does with uploads.

    Args:
        classifier: on its device.
        flags: where flagged predictions go; None: nowhere.
        max_pictures: of a request.
        max_megabytes: of a picture.

    Attributes:
        uploads: the pictures that wait.
        predictor: predicts them.
    """

    def __init__(
        self,
        classifier: Classifier,
        flags: Flags | None,
        max_pictures: int,
        max_megabytes: float,
    ) -> None:
        self.classifier = classifier
        self.flags = flags
        self.max_pictures = max_pictures
        self.max_megabytes = max_megabytes
        self.uploads = Uploads()
        self.predictor = Predictor(classifier)

    def rows(self, files: object) -> list[dict[str, Any]]:
        """Returns the objects of predictions.json for the files of a request in JSON."""
        return [self._row(shown.result) for shown in self._predict(files)]

    def show(self, request: object) -> tuple[str, dict[str, Any]]:
        """Returns the cards of pictures, and the set they belong to, for the page's script."""
        asked = request if isinstance(request, Mapping) else {}
        set_id = str(asked.get("set", ""))[:40]
        shown = self._predict(asked.get("files"), pictures=True)
        names, flagging = self.classifier.class_names, self.flags is not None
        return cards(shown, names, set_id, flagging), {"shown": set_id}

    def flag(self, request: object) -> dict[str, Any]:
        """Stores a picture whose prediction is wrong, and returns what to say of it."""
        asked = request if isinstance(request, Mapping) else {}
        stored = {"flagged": str(asked.get("picture", ""))[:80], "stored": False}
        try:
            self._flag(asked)
        except FashionTransferError as error:
            text = str(error)
            return {**stored, "text": f"Not saved: {text}."}
        return {**stored, "stored": True, "text": "Saved as wrong. Thank you."}

    def close(self) -> None:
        """Deletes what waits, and ends the threads."""
        self.predictor.close()
        self.uploads.close()

    def _flag(self, asked: Mapping[str, Any]) -> None:
        label = asked.get("label") or None
        known = {*self.classifier.class_names, MULTI_ITEM, NONE_OF_THESE, None}
        with self.uploads.claim([_token(asked.get("file"))]) as [upload]:
            if self.flags is None:
                raise FashionTransferError("this page has no folder for it")
            if not isinstance(label, str | None) or label not in known:
                raise FashionTransferError("this label is not known here")
            # Predicted once more: what a browser says of a prediction proves nothing.
            [shown] = self.predictor.predict([upload])
            if upload is None or shown.result.prediction is None:
                raise FashionTransferError(shown.result.error)
            self.flags.add(upload, self._row(shown.result), label)

    def _predict(self, files: object, pictures: bool = False) -> list[Shown]:
        gr = import_gradio()
        entries = files if isinstance(files, list) else [files]
        with self.uploads.claim([_token(entry) for entry in entries]) as uploads:
            if not entries or files is None:
                raise gr.Error("There is no picture in this request.", print_exception=False)
            if len(entries) > self.max_pictures:
                text = f"These are {len(entries)} pictures: send at most {self.max_pictures}."
                raise gr.Error(text, print_exception=False)
            refused = [_refused(entry) for entry in entries]
            there = [u for u, r in zip(uploads, refused, strict=True) if r is None]
            predicted = iter(self.predictor.predict(there, pictures))
            return [next(predicted) if r is None else r for r in refused]

    def _row(self, result: ImagePrediction) -> dict[str, Any]:
        return as_row(result, self.classifier.class_names)


def _token(entry: object) -> object:
    """The token of an upload in a request; None if there is none."""
    return entry.get(TOKEN) if isinstance(entry, Mapping) else entry


def _refused(entry: object) -> Shown | None:
    """What the browser says of a picture that it could not send, such as one that is too large."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("error"), str):
        return None
    name, error = own_name(str(entry.get("name", ""))), entry["error"][:MAX_ERROR].rstrip(".")
    return Shown(ImagePrediction(Path(name), None, error or "it did not arrive"))
