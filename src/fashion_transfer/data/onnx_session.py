"""onnxruntime, which runs networks without torch and here reports nothing to anybody."""

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


def import_onnxruntime() -> ModuleType:
    """Returns onnxruntime, which then reports nothing to anybody.

    Official builds send what they run to Microsoft, from version 1.29 on Linux and macOS, too, and
    leave an identifier of the machine in the user's cache, as soon as they are imported. Only this
    variable turns all of that off (`Privacy.md` of onnxruntime).

    Raises:
        ImportError: it is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    return import_module("onnxruntime")


def open_session(path: str | Path) -> Any:
    """Returns the network of an ONNX file, ready to run on the CPU: `onnxruntime.InferenceSession`.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    # Its threads would go on spinning for a while, on the cores that another network then needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A plan of the memory for each shape keeps that memory beside what it was made from: twice as
    # much (550 MB instead of 360 for the net that cuts out items), and no faster.
    options.enable_mem_pattern = False
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
        if cores < (os.cpu_count() or 1):  # in a container; it would bind threads to other cores
            options.intra_op_num_threads = cores
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
