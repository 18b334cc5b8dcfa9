"""What metrics must be read with: weights, precision and versions."""

import platform
from typing import Any

import hydra
import lightning as L
import torch
import torchvision

from fashion_transfer.models import Classifier


def provenance(classifier: Classifier, precision: str) -> dict[str, Any]:
    """Returns what determines a classifier's metrics apart from its recipe, by name.

    Args:
        classifier: that the metrics are of.
        precision: in which its backbone ran, see `Backbone.to_device`.
    """
    backbone = classifier.backbone
    return {
        "weights/name": backbone.weights_name,
        "weights/sha256": backbone.fingerprint,
        "backbone/name": backbone.name,
        "backbone/precision": precision,
        "backbone/engine": backbone.engine.runtime,
        "backbone/compiled": backbone.compiles(classifier.image_size),
        **({"backbone/quantised": quantised} if (quantised := backbone.engine.quantised) else {}),
        "versions/python": platform.python_version(),
        "versions/torch": torch.__version__,
        "versions/torchvision": torchvision.__version__,
        "versions/lightning": L.__version__,
        "versions/hydra": hydra.__version__,
        **{f"versions/{name}": version for name, version in backbone.engine.versions.items()},
    }
