"""Classify clothes by transfer learning: a frozen ResNet50, a new head, and an honest warning.

import fashion_transfer
classifier = fashion_transfer.load("logs/…/checkpoints/best.ckpt")
print(classifier.predict(["photo.jpg"]))
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fashion_transfer.models import Classifier

__all__ = ["load"]


def load(path: str | Path, **options: Any) -> "Classifier":
    """The trained classifier of a checkpoint, ready to predict.

    Args:
        path: the checkpoint, `best.ckpt` of a run folder.
        **options: of `models.load_classifier`, such as `weights` or `threshold`.

    Raises:
        FashionTransferError: the file is not a checkpoint, or its weights are not there.
    """
    from fashion_transfer.models import load_classifier  # imports torch: only where it is needed

    return load_classifier(path, **options)
