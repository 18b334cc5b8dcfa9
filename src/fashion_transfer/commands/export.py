"""Writes a checkpoint to one ONNX file, for programs without torch."""

import logging

from omegaconf import DictConfig

from fashion_transfer.commands.inference import (
    checkpoint_path,
    choose_device,
    describe,
    load,
    move,
)
from fashion_transfer.commands.schema import check_config
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.export import check_packages, write_onnx
from fashion_transfer.paths import user_path

log = logging.getLogger(__name__)

BACKBONE_ENTRIES = ("weights",)

ONNX_FILE = "classifier.onnx"
"""Name of the file where none is given."""


def export(cfg: DictConfig) -> None:
    """Runs the export that `conf/export.yaml` describes.

    Raises:
        FashionTransferError: no checkpoint, a value is not possible, a package is missing, or the
            file cannot be written.
    """
    check_config(cfg, "export")
    check_packages()
    path = checkpoint_path(cfg)
    output = user_path(cfg.output) if cfg.output else path.with_name(ONNX_FILE)
    if not output.absolute().parent.is_dir():
        raise FashionTransferError(f"output={output} is in no folder that exists: make it first")
    if output.is_dir():
        raise FashionTransferError(f"output={output} is a folder: name a file in it")
    classifier = load(
        cfg, path, BACKBONE_ENTRIES, precision="float32", compile=False, engine="torch"
    )
    move(classifier, choose_device("cpu"))
    log.info("exporting %s", describe(path, classifier))
    difference = write_onnx(classifier, output)
    size = output.stat().st_size / 1e6
    print(
        f"written: {output}, {size:.1f} MB; its probabilities differ from the checkpoint's by at "
        f"most {difference:.1g}"
    )
