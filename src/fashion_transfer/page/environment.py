"""Gradio, imported so that it sends nothing anywhere."""

import os
import tempfile
from types import ModuleType

from fashion_transfer.errors import FashionTransferError

SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    # Statistics of requests would be computed anew after each of them.
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**12),
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Environment variables that Gradio and its libraries read, the first time when imported."""


_folder: list[tempfile.TemporaryDirectory[str]] = []  # deleted when the process ends


def import_gradio() -> ModuleType:
    """Returns Gradio, with everything off that would ask other machines.

    Raises:
        FashionTransferError: it is not installed.
    """
    os.environ.update(SETTINGS)
    if not _folder:
        # Nothing is put there, but Gradio serves what is in it: nobody else's files, then.
        _folder.append(tempfile.TemporaryDirectory(prefix="fashion-transfer-gradio-"))
        os.environ["GRADIO_TEMP_DIR"] = _folder[0].name
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise FashionTransferError(
            f'the page needs {error.name}, which is not installed: run `pip install -e ".[app]"`'
        ) from error
    return gradio
