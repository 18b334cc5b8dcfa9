"""Predictions that a person flagged as wrong: each as the picture and a JSON file in a folder."""

import json
import secrets
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import atomic_path, write_text
from fashion_transfer.page.uploads import Upload

MAX_BYTES = 2**30
"""Of the folder."""


class Flags:
    """A folder of flagged predictions, which only its user can read.

    Args:
        folder: created with the first one.
        checkpoint: of the classifier, if it is known.
        max_bytes: of the folder.
    """

    def __init__(
        self, folder: Path, checkpoint: Path | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.checkpoint = None
        if checkpoint is not None:
            changed = datetime.fromtimestamp(checkpoint.stat().st_mtime, timezone.utc)
            self.checkpoint = {
                "name": str(checkpoint),
                "time": changed.isoformat(timespec="seconds"),
            }
        self._lock = threading.Lock()

    def add(self, upload: Upload, row: Mapping[str, Any], label: str | None) -> str:
        """Stores a picture with its prediction, and returns the name of the JSON file.

        Args:
            upload: the picture, byte for byte.
            row: of the prediction, as in predictions.json.
            label: the right one, if the person knows it.

        Raises:
            FashionTransferError: the folder is full, or cannot be written.
        """
        name = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(8)}"
        picture = f"{name}{upload.path.suffix}"
        content = {
            "picture": picture,
            "label": label,
            "prediction": dict(row),
            "checkpoint": self.checkpoint,
            "version": metadata.version("fashion-transfer"),
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        with self._lock:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                used = sum(entry.stat().st_size for entry in self.folder.iterdir())
                if used + upload.size > self.max_bytes:
                    raise FashionTransferError(
                        f"the folder of flagged pictures is full ({used / 1e6:.0f} MB): look "
                        "through it, and delete what is done"
                    )
                with atomic_path(self.folder / picture) as temporary:
                    temporary.write_bytes(upload.path.read_bytes())
                text = json.dumps(content, indent=2, ensure_ascii=False)
                write_text(self.folder / f"{name}.json", f"{text}\n")
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise FashionTransferError(f"the picture could not be stored ({reason})") from error
        return f"{name}.json"
