"""The items cut out of a photo: which pixels belong to them.

A small network finds what stands out in a picture: U²-Net-p (Qin et al. 2020, "U²-Net: Going deeper
with nested U-structure for salient object detection"), run by onnxruntime (see `cutout_net`).
"""

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fashion_transfer.data.cutout_net import net_path, why_missing
from fashion_transfer.data.onnx_session import open_session

log = logging.getLogger(__name__)

SIZE = 320
"""Height and width of the network's input, pixels."""

SALIENT = 0.5
"""Saliency from which a pixel belongs to an item."""

MIN_PART = 0.1
"""Parts of at least this fraction of the largest one's pixels are kept: two items stay two."""

MEAN = np.array((0.485, 0.456, 0.406), np.float32)
STD = np.array((0.229, 0.224, 0.225), np.float32)


def mask(image: np.ndarray) -> np.ndarray | None:
    """How far each pixel of a photo belongs to its items: float32, (h, w), from 0 to 1.

    None where the network is not there, which is logged once, or finds nothing.

    Args:
        image: uint8, (3, h, w).
    """
    scores = saliency(image)
    if scores is None:
        return None
    parts = salient_parts(scores >= SALIENT)
    if not parts.any():
        return None
    # What surrounds a part is its soft edge; holes that were filled belong to it.
    outside = np.where(scores < SALIENT, scores, np.float32(0))  # without the parts left out
    scores = np.where(parts, np.maximum(scores, SALIENT), outside)
    height, width = image.shape[1:]
    resized = Image.fromarray(scores).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def cut_out(image: np.ndarray) -> np.ndarray | None:
    """The pixels of a photo that belong to its items: bool, (h, w); None as in `mask`.

    Args:
        image: uint8, (3, h, w).
    """
    opacity = mask(image)
    if opacity is None or not (opacity >= SALIENT).any():
        return None
    return opacity >= SALIENT


def saliency(image: np.ndarray) -> np.ndarray | None:
    """How much each part of a photo stands out: float32, (`SIZE`, `SIZE`), from 0 to 1.

    None where the network is not there.

    Args:
        image: uint8, (3, h, w).
    """
    session = _session(net_path())
    if session is None:
        return None
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    pixels = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
    pixels = (pixels / max(pixels.max(), 1) - MEAN) / STD  # as the network was trained
    outputs = session.run(None, {session.get_inputs()[0].name: pixels.transpose(2, 0, 1)[None]})
    scores: np.ndarray = outputs[0][0, 0]
    scores = scores - scores.min()
    return scores / np.float32(max(scores.max(), 1e-6))


def salient_parts(salient: np.ndarray) -> np.ndarray:
    """The parts of a mask that matter, their holes filled: bool, (h, w).

    Args:
        salient: bool, (h, w).
    """
    from scipy import ndimage  # half a second to import: only where it is needed

    labels, count = ndimage.label(salient)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0  # the ground
    large = (sizes >= MIN_PART * sizes.max())[labels]
    filled: np.ndarray = ndimage.binary_fill_holes(large & salient)
    return filled


@lru_cache(maxsize=1)  # 300 MB each
def _session(path: Path) -> Any:
    """The network at a path, ready to run; None, which is logged, where it is not there."""
    if reason := why_missing():
        log.warning(
            "%s; until then, photos are taken for items on a plain ground, which most are not",
            reason,
        )
        return None
    return open_session(path)
