"""Predicts with an exported classifier, without torch.

Usage: python predict_onnx.py classifier.onnx photo.jpg another.jpg
"""

import json
import sys
from typing import NamedTuple

import numpy as np

from fashion_transfer.data.decoding import ImageLike, to_array
from fashion_transfer.data.onnx_session import open_session
from fashion_transfer.data.preparation import get_preparation
from fashion_transfer.errors import FashionTransferError


class Prediction(NamedTuple):
    """A label and its probability; the reason of the warning, empty without one."""

    label: str
    confidence: float
    reason: str


class OnnxClassifier:
    """An exported classifier, which predicts for one image at a time."""

    def __init__(self, path: str) -> None:
        self.session = open_session(path)  # of onnxruntime, which reports nothing to anybody
        described = self.session.get_modelmeta().custom_metadata_map
        self.metadata = {name: json.loads(value) for name, value in described.items()}
        self.preparation = get_preparation(self.metadata["preparation"])
        if self.preparation.version != self.metadata["preparation_version"]:
            print("the preparation has changed since: predictions may differ", file=sys.stderr)

    def predict(self, image: ImageLike) -> Prediction:
        """Predicts for an image: a path, a PIL image or an array."""
        prepared = self.preparation.prepare(to_array(image))
        inputs = {"images": prepared.pixels[None]}
        if self.metadata["second_opinion"]:  # on the items in colour, if there is a picture of them
            none = np.zeros((0, 3, 1, 1), np.uint8)
            inputs["colours"] = none if prepared.colour is None else prepared.colour[None]
            inputs["colour_rows"] = np.arange(len(inputs["colours"]), dtype=np.int64)
        probabilities, _, _, reason = self.session.run(None, inputs)
        names, reasons = self.metadata["class_names"], ["", *self.metadata["reasons"]]
        label = probabilities[0, : len(names)].argmax()  # last may come that of several items
        return Prediction(names[label], float(probabilities[0, label]), reasons[reason[0]])


def main(path: str, *images: str) -> None:
    """Prints a line for each image."""
    classifier = OnnxClassifier(path)
    for image in images:
        try:
            label, confidence, reason = classifier.predict(image)
        except FashionTransferError as error:
            print(error)
        else:
            print(f"{image}: {label}, {confidence:.0%}{f', warning: {reason}' if reason else ''}")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)
