"""Predictions for uploaded pictures: read, prepared, predicted as `predict.py` does it."""

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fashion_transfer.confidence import Prediction
from fashion_transfer.data import read_image
from fashion_transfer.data.preparation import Prepared
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import Classifier
from fashion_transfer.page.uploads import Upload
from fashion_transfer.reporting import ImagePrediction
from fashion_transfer.reporting.gallery import small

BATCH = 8
"""Pictures of a request that are in memory at once."""

READERS = 2
"""Pictures that are read at once, of all requests together."""

SIDE = 360
"""Longest side of a picture on the page, pixels: sharp on a phone, too."""

TINY = 64
"""Up to this side, pixels are shown as they are."""

GONE = "this picture did not arrive here, or was predicted already: send it again"


class Shown(NamedTuple):
    """What the page shows of a picture.

    Attributes:
        result: the prediction, or why there is none; its path is the file's own name.
        picture: as it was taken, a small `data:` address; empty if it could not be read.
        prepared: as the classifier saw it, the same.
    """

    result: ImagePrediction
    picture: str = ""
    prepared: str = ""


class _Read(NamedTuple):
    prepared: Prepared | None
    error: str
    picture: str = ""


class Predictor:
    """Predicts uploads, for any number of threads at once.

    Pictures are read by a few threads of its own and predicted by one: torch and its helpers then
    have their memory once, whichever thread of the server asks.

    Args:
        classifier: on its device.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._readers = ThreadPoolExecutor(READERS, "read")
        self._model = ThreadPoolExecutor(1, "predict")

    def predict(self, uploads: Sequence[Upload | None], pictures: bool = False) -> list[Shown]:
        """Returns the predictions of uploads, in their order.

        Args:
            uploads: readable or not; None for one that is not there.
            pictures: whether small pictures are wanted, too.
        """
        shown: list[Shown] = []
        for start in range(0, len(uploads), BATCH):
            shown += self._predict(uploads[start : start + BATCH], pictures)
        return shown

    def warm_up(self) -> None:
        """Predicts a small picture, so that a person's first one need not wait for libraries."""
        noise = np.random.default_rng(0).integers(0, 256, (3, 96, 96), np.uint8)
        prepared = self._readers.submit(self.classifier.preparation.prepare, noise).result()
        self._model.submit(self.classifier.predict_prepared, [prepared]).result()

    def close(self) -> None:
        """Ends the threads, once they are done."""
        self._readers.shutdown(cancel_futures=True)
        self._model.shutdown(cancel_futures=True)

    def _predict(self, uploads: Sequence[Upload | None], pictures: bool) -> list[Shown]:
        jobs = [self._readers.submit(self._read, upload, pictures) for upload in uploads]
        files = [job.result() for job in jobs]
        images = [file.prepared for file in files if file.prepared is not None]
        predicted: list[Prediction] = []
        if images:
            predicted = self._model.submit(self.classifier.predict_prepared, images).result()
        predictions = iter(predicted)
        shown = []
        for upload, file in zip(uploads, files, strict=True):
            name = Path(upload.name if upload is not None else "picture")
            prediction = None if file.prepared is None else next(predictions)
            prepared = ""
            if pictures and file.prepared is not None:
                prepared = data_address(file.prepared.pixels)
            result = ImagePrediction(name, prediction, file.error)
            shown.append(Shown(result, file.picture, prepared))
        return shown

    def _read(self, upload: Upload | None, pictures: bool) -> _Read:
        if upload is None:
            return _Read(None, GONE)
        try:
            image = read_image(upload.path)
        except FashionTransferError as error:
            reason = str(error).removeprefix(f"{upload.path}: ")
            return _Read(None, reason.replace(str(upload.path), upload.name))
        picture = data_address(image) if pictures else ""
        return _Read(self.classifier.preparation.prepare(image), "", picture)


def data_address(image: np.ndarray) -> str:
    """Returns an image as a small picture in a `data:` address.

    Args:
        image: uint8, (C, h, w) with C 1 or 3, of any size.
    """
    picture, file = Image.fromarray(small(image, SIDE)), io.BytesIO()
    if max(picture.size) <= TINY:
        format = "png"
        picture.save(file, format)
    else:
        format = "jpeg"
        picture.convert("RGB").save(file, format, quality=85)
    return f"data:image/{format};base64,{base64.b64encode(file.getvalue()).decode()}"
