"""What the baselines choose from: representations of images, and classifiers with settings."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from fashion_transfer.errors import FashionTransferError

Array = np.ndarray


class Estimator(Protocol):
    """A classifier as of scikit-learn."""

    def fit(self, inputs: Array, labels: Array) -> Any:
        """Trains it."""

    def predict(self, inputs: Array) -> Array:
        """Labels, (N,)."""


class Candidate(NamedTuple):
    """A classifier to be tried on the validation images.

    Attributes:
        settings: its hyperparameters, JSON types.
        representation: of the images it takes, a name in `Baseline.representations`.
        build: gives the classifier, untrained.
    """

    settings: dict[str, Any]
    representation: str
    build: Callable[[], Estimator]


class Baseline(NamedTuple):
    """A baseline of the table of results.

    Attributes:
        title: what people read.
        pixels: whether it sees the pixels of the files; else the cached features, standardised.
        representations: functions of what it sees, (N, …) to (N, D), by name.
        candidates: gives the classifiers to try for (training images, fewest of a class), those
            that fit most simply first: of equally good ones the first is taken.
    """

    title: str
    pixels: bool
    representations: Mapping[str, Callable[[Array], Array]]
    candidates: Callable[[int, int], Iterator[Candidate]]


CELLS = (4, 3)
"""Height and width of a cell of HOG, pixels: 1,296 and 2,304 numbers for 28 x 28. Cells of 2 and of
5 pixels are worse on the validation images."""

CHUNK = 1000
"""Images of which an SVM has the kernel in memory at once."""

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Weight of half the squared norm beside the mean loss."""

NEIGHBOURS = (25, 15, 9, 5, 3, 1)


def hog(images: Array, cell: int) -> Array:
    """Returns histograms of oriented gradients: float32, (N, D).

    Dalal & Triggs 2005, "Histograms of oriented gradients for human detection": nine orientations,
    blocks of 2 x 2 cells, normalised by L2-Hys.

    Args:
        images: uint8, (N, h, w).
        cell: height and width of a cell, pixels.

    Raises:
        FashionTransferError: scikit-image is missing.
    """
    try:
        from skimage.feature import hog as histograms
    except ImportError as error:
        raise FashionTransferError(
            'hog_svm needs scikit-image, which is not here: `pip install -e ".[results]"`'
        ) from error
    options = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (2, 2)}
    return np.stack([histograms(image / 255, **options) for image in images]).astype(np.float32)


def _svms(count: int, of_class: int) -> Iterator[Candidate]:
    for cell in CELLS:
        for penalty in (1.0, 3.0, 10.0):
            for width in (0.5, 1.0, 2.0):
                yield Candidate(
                    {"cell": cell, "C": penalty, "gamma_over_scale": width},
                    f"hog_{cell}",
                    partial(_RBFSVM, penalty, width),
                )


class _RBFSVM:
    """An RBF-SVM whose gamma is a multiple of 1 / (D · variance), scikit-learn's "scale".

    The kernel comes from matrix products, which takes a tenth of the time that libsvm needs for it.
    """

    def __init__(self, penalty: float, width: float) -> None:
        from sklearn.svm import SVC

        self.svc = SVC(C=penalty, kernel="precomputed")
        self.width = width

    def fit(self, inputs: Array, labels: Array) -> None:
        """Trains it."""
        self.gamma = self.width / (inputs.shape[1] * float(inputs.var()))
        self.training = inputs
        self.svc.fit(self._kernel(inputs), labels)

    def predict(self, inputs: Array) -> Array:
        """Labels, (N,)."""
        parts = np.array_split(inputs, range(CHUNK, len(inputs), CHUNK))
        return np.concatenate([self.svc.predict(self._kernel(part)) for part in parts])

    def _kernel(self, inputs: Array) -> Array:
        from sklearn.metrics.pairwise import rbf_kernel

        kernel: Array = rbf_kernel(inputs, self.training, gamma=self.gamma)
        return kernel


def _neighbours(count: int, of_class: int) -> Iterator[Candidate]:
    from sklearn.neighbors import KNeighborsClassifier

    for neighbours in NEIGHBOURS:
        for metric in ("euclidean", "cosine"):
            if neighbours <= of_class:
                yield Candidate(
                    {"k": neighbours, "metric": metric},
                    "features",
                    partial(KNeighborsClassifier, neighbours, algorithm="brute", metric=metric),
                )


def _regressions(count: int, of_class: int) -> Iterator[Candidate]:
    from sklearn.linear_model import LogisticRegression

    for penalty in PENALTIES:
        yield Candidate(
            {"penalty": penalty},
            "features",
            # scikit-learn weighs the sum of the losses instead.
            partial(LogisticRegression, C=1 / (penalty * count), max_iter=5000),
        )


BASELINES: dict[str, Baseline] = {
    "hog_svm": Baseline(
        "HOG and RBF-SVM, no pretrained network",
        True,
        {f"hog_{cell}": partial(hog, cell=cell) for cell in CELLS},
        _svms,
    ),
    "knn": Baseline(
        "nearest neighbours, the default's features", False, {"features": np.asarray}, _neighbours
    ),
    "logistic": Baseline(
        "logistic regression, the default's features", False, {"features": np.asarray}, _regressions
    ),
}
"""By the name on the command line."""
