"""A classifier as one ONNX file, for programs that have no torch."""

from fashion_transfer.export.onnx_file import (
    FORMAT_VERSION,
    check_packages,
    metadata,
    write_onnx,
)
from fashion_transfer.export.parity import MAX_DIFFERENCE, compare, onnx_inputs

__all__ = [
    "FORMAT_VERSION",
    "MAX_DIFFERENCE",
    "check_packages",
    "compare",
    "metadata",
    "onnx_inputs",
    "write_onnx",
]
