"""Images whose label is most likely wrong, by predictions of models that never saw them.

scikit-learn is imported only where something is fitted: commands that fit nothing start faster.
"""

from typing import NamedTuple

import numpy as np

MAX_COMPONENTS = 128
"""Principal components of the features: more cost time, and name no more wrong labels."""

FOLDS = 5
"""Parts of the images; each is predicted by a model of the others."""

INVERSE_REGULARISATION = 0.3
"""Of the logistic regression, where the first component has variance 1.

From 0.1 to 0.3, 49 of the first 50 images named have one of the wrong labels that 5 % of the CC0
clothing photos were given (ResNet50, layer3@2 and layer4). 20 images need at least 0.3.
"""


class LabelIssue(NamedTuple):
    """An image whose label is probably wrong.

    Attributes:
        position: of the image.
        suggested: the label that is more probable.
        probability: of that label.
    """

    position: int
    suggested: int
    probability: float


def principal_components(features: np.ndarray) -> np.ndarray:
    """Returns the first principal components of standardised features.

    Args:
        features: float32, (N, D).

    Returns:
        float32, (N, K), K at most `MAX_COMPONENTS`, N and D; the variance of the first is 1.
    """
    from sklearn.decomposition import PCA

    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    count = min(MAX_COMPONENTS, *features.shape)
    pca = PCA(count, svd_solver="randomized", iterated_power=2, random_state=0)
    components: np.ndarray = pca.fit_transform(features)
    components /= np.maximum(components[:, 0].std(), 1e-6)
    return components


def label_issues(components: np.ndarray, labels: np.ndarray) -> list[LabelIssue]:
    """Returns the images that are probably mislabelled, the clearest first.

    Confident learning (Northcutt, Jiang and Chuang 2021, "Confident learning: Estimating
    uncertainty in dataset labels", JAIR 70): each image is predicted by a model that was fitted
    without it. It is named if another class is more probable than its label, and at least as
    probable as that class is, on average, for the images that bear it. The order is that of the
    normalised margin: the probability of the label minus the highest of another class.

    Args:
        components: float32, (N, K), as `principal_components` gives them.
        labels: int64, (N,). A class with fewer than `FOLDS` images is left out, since a model
            without one of them hardly knows it.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    used = np.flatnonzero(np.bincount(labels)[labels] >= FOLDS)
    classes, given = np.unique(labels[used], return_inverse=True)
    if len(classes) < 2:
        return []
    probabilities = cross_val_predict(
        LogisticRegression(C=INVERSE_REGULARISATION, max_iter=300),
        components[used],
        given,
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0),
        method="predict_proba",
    )
    images = np.arange(len(used))
    own = probabilities[images, given]
    usual = np.array([own[given == label].mean() for label in range(len(classes))])
    others = probabilities.copy()
    others[images, given] = -1
    margins = own - others.max(axis=1)
    suggested = np.where(others >= usual, others, -1).argmax(axis=1)
    confident = others[images, suggested] >= np.maximum(usual[suggested], own)
    order = [i for i in np.argsort(margins, kind="stable").tolist() if confident[i]]
    return [
        LabelIssue(int(used[i]), int(classes[suggested[i]]), float(others[i, suggested[i]]))
        for i in order
    ]
