"""Writes a classifier to one ONNX file: weights, decision and metadata are in it."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata as packages
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from fashion_transfer.confidence import REASONS
from fashion_transfer.errors import FashionTransferError, first_line
from fashion_transfer.export.graph import ClassifierGraph, Outputs, example_inputs
from fashion_transfer.export.parity import MAX_DIFFERENCE, checked_images, compare
from fashion_transfer.features.licences import weights_licence
from fashion_transfer.files import atomic_path
from fashion_transfer.models import Classifier

FORMAT_VERSION = 1
"""Raised whenever a reader of inputs, outputs or metadata would misread a file."""

OPSET = 18
"""Of ONNX's operators: the first one with an antialiased `Resize`."""

OTHER_VERSION = "use another version of torch, onnxscript or onnxruntime"

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What writing and checking a file needs: the extra `[export]`."""

AXES = {
    "images": {0: "N", 2: "height", 3: "width"},
    "colours": {0: "M", 2: "colour_height", 3: "colour_width"},
    "colour_rows": {0: "M"},
}
"""Names of the axes of the inputs that may have any length."""


def write_onnx(classifier: Classifier, path: str | Path) -> float:
    """Writes a classifier to an ONNX file, whole or not at all, and checks what it gives.

    Args:
        classifier: as `load_classifier` gives it with `precision="float32"`: in eval mode, on the
            CPU, not compiled.
        path: of the file. Its folder must exist.

    Returns:
        The largest difference in a probability between file and classifier, on drawn images.

    Raises:
        FashionTransferError: a package of the extra `[export]` is missing, the classifier is no
            such one, its backbone cannot be exported, the file cannot be written, or it gives
            something else.
    """
    check_packages()
    weights = next(classifier.backbone.parameters())
    compiled = classifier.backbone.compiles(classifier.image_size)
    if weights.dtype != torch.float32 or weights.device.type != "cpu" or compiled:
        raise FashionTransferError(
            "an export is of a classifier in float32, on the CPU and not compiled: load it anew "
            "with precision=float32 and compile=false"
        )
    try:
        with atomic_path(path) as temporary:
            program = _trace(classifier)
            program.save(temporary)
            difference = _check(temporary, classifier, Path(path).name)
    except OSError as error:
        raise FashionTransferError(
            f"{path} cannot be written ({error.strerror}): name another file"
        ) from error
    return difference


def check_packages() -> None:
    """Checks that what an export needs is installed.

    Raises:
        FashionTransferError: it is not.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise FashionTransferError(
            f'an export needs {", ".join(missing)}: run `pip install -e ".[export]"`'
        )


def metadata(classifier: Classifier) -> dict[str, Any]:
    """Returns what a file says about its classifier, JSON types by name."""
    backbone, calibrator = classifier.backbone, classifier.calibrator
    ood_limit = float(calibrator.ood_limit)
    return {
        "format_version": FORMAT_VERSION,
        "version": packages.version("fashion-transfer"),
        "class_names": list(classifier.class_names),
        "reasons": list(REASONS),
        "threshold": float(classifier.threshold),
        "ood_limit": ood_limit if isfinite(ood_limit) else None,  # JSON knows no infinity
        "temperature": float(calibrator.temperature),
        "image_size": classifier.image_size,
        "preparation": classifier.preparation.name,
        "preparation_version": classifier.preparation.version,
        "multi_item": classifier.multi_item,
        "second_opinion": classifier.opinion is not None,
        "backbone": backbone.name,
        "weights": backbone.weights_name,
        "weights_sha256": backbone.fingerprint,
        "weights_licence": weights_licence(backbone.weights_name, backbone.fingerprint),
    }


def _trace(classifier: Classifier) -> Any:
    """The ONNX program of a classifier, with its metadata.

    Raises:
        FashionTransferError: its backbone cannot be exported.
    """
    inputs = example_inputs(classifier)
    # One of a name stands for one length: the rows are as many as the colour pictures.
    dims = {name: torch.export.Dim(name) for axes in AXES.values() for name in axes.values()}
    shapes = {name: {axis: dims[label] for axis, label in AXES[name].items()} for name in inputs}
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                ClassifierGraph(classifier).eval(),
                kwargs=inputs,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(inputs),
                output_names=list(Outputs._fields),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # an exporter fails in as many ways as there are networks
        reason = first_line(error)
        raise FashionTransferError(
            f"{classifier.backbone.name} cannot be exported ({reason}): train on one of "
            "torchvision's ResNets"
        ) from error
    assert program is not None
    _take_grey(program.model)
    program.model.producer_name = "fashion-transfer"
    for name, value in metadata(classifier).items():
        program.model.metadata_props[name] = json.dumps(value)
    return program


def _check(file: Path, classifier: Classifier, name: str) -> float:
    """The largest difference in a probability between a new file and its classifier.

    Raises:
        FashionTransferError: it is too large, or onnxruntime does not run the file.
    """
    try:
        parity = compare(file, classifier, checked_images())
    except Exception as error:  # onnxruntime has an exception of its own for each reason
        reason = first_line(error)
        raise FashionTransferError(
            f"{name} was not written: onnxruntime cannot run it ({reason}): {OTHER_VERSION}"
        ) from error
    if not parity.difference <= MAX_DIFFERENCE or parity.decisions:
        raise FashionTransferError(
            f"{name} was not written: its probabilities differ from the classifier's by up to "
            f"{parity.difference:.1g}, and {parity.decisions} warnings differ (at most "
            f"{MAX_DIFFERENCE:g} and none may): {OTHER_VERSION}"
        )
    return parity.difference


def _take_grey(model: Any) -> None:
    """Lets `images` have one channel or three: grey stands for three equal ones.

    A trace fixes how many there are: it has three.
    """
    import onnx_ir

    graph = model.graph
    images = next(value for value in graph.inputs if value.name == "images")
    lengths = onnx_ir.tensor([1, 3, 1, 1], name="three_channels")
    three = onnx_ir.Value(name="three_channels", const_value=lengths)
    graph.register_initializer(three)
    expand = onnx_ir.Node("", "Expand", [images, three])
    [in_colour] = expand.outputs
    in_colour.name, in_colour.shape, in_colour.dtype = "in_colour", images.shape, images.dtype
    for node, position in list(images.uses()):
        if node is not expand:
            node.replace_input_with(position, in_colour)
    graph.insert_before(graph[0], expand)
    count, _, height, width = images.shape
    images.shape = onnx_ir.Shape([count, "channels", height, width])


@contextmanager
def _quiet() -> Iterator[None]:
    """Drops what exporters log and warn of, which is about their own workings."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
