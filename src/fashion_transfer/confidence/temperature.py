"""Temperature scaling: one number that makes confidence agree with accuracy.

Guo et al. 2017, "On calibration of modern neural networks", section 4.2.
"""

from math import exp, log

from torch import Tensor

from fashion_transfer.confidence.checks import check_rows
from fashion_transfer.errors import ArgumentError

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""The range of a fitted temperature. Where every label is predicted, the NLL is lowest at 0."""


def fit_temperature(logits: Tensor, labels: Tensor, standard_errors: float = 0.0) -> float:
    """Fits the temperature T that minimises the mean NLL of softmax(logits / T).

    The NLL is convex in 1 / T, so its slope has one zero at most. It is computed in float64, on
    the CPU.

    Args:
        logits: (N, C), before the softmax, of images that were not trained on.
        labels: whole numbers, (N,), the true classes, 0 to C - 1.
        standard_errors: how many standard errors to lower 1 / T by, towards less confidence. A few
            images may happen to be easy ones, and T would come out too low. 0: not at all.

    Returns:
        The temperature, from `MIN_TEMPERATURE` to `MAX_TEMPERATURE`; 1 where the slope is 0 at 1,
        as where no temperature changes anything.

    Raises:
        ArgumentError: the logits are empty or not finite, or the labels do not match them.
    """
    check_rows("logits", logits, labels)
    if broken := int((~logits.isfinite()).any(1).sum()):
        raise ArgumentError(
            "logits",
            f"must be finite, got {broken} of {len(logits)} rows that are not: look for a training "
            "that diverged, as by a high learning rate",
        )
    # Relative to the true class's logit, whose score is then 0: softmax ignores the shift.
    scores = logits.detach().cpu().double()
    scores = scores - scores.gather(1, labels.cpu().long()[:, None])  # (N, C)
    inverse = 1 / _best_temperature(scores)
    if standard_errors:
        inverse -= standard_errors * _standard_error(scores, inverse)
    return 1 / min(max(inverse, 1 / MAX_TEMPERATURE), 1 / MIN_TEMPERATURE)


def _best_temperature(scores: Tensor) -> float:
    """Finds the zero of the slope in log T; without one, the end of the range nearer to it."""

    def slope(log_temperature: float) -> float:
        """Slope of the mean NLL in 1 / T: positive where T is too low."""
        return float(_slopes(scores, exp(-log_temperature)).mean())

    low, high = log(MIN_TEMPERATURE), log(MAX_TEMPERATURE)
    if slope(0.0) == 0:
        return 1.0
    if slope(low) <= 0:
        return MIN_TEMPERATURE
    if slope(high) >= 0:
        return MAX_TEMPERATURE
    from scipy.optimize import brentq  # a prediction needs none of SciPy

    return exp(brentq(slope, low, high, xtol=1e-12))


def _slopes(scores: Tensor, inverse: float) -> Tensor:
    """Slope in 1 / T of each row's NLL, (N,): the expected score (the true class's is 0)."""
    return ((scores * inverse).softmax(1) * scores).sum(1)


def _standard_error(scores: Tensor, inverse: float) -> float:
    """Standard error of 1 / T, which is an M-estimate.

    White 1982, "Maximum likelihood estimation of misspecified models", theorem 3.2: the root
    mean square of the slopes, over the curvature, over the root of N.
    """
    slopes = _slopes(scores, inverse)
    second_moments = ((scores * inverse).softmax(1) * scores.square()).sum(1)
    curvature = (second_moments - slopes.square()).mean().clamp(min=1e-12)
    return float((slopes.square().mean() / len(scores)).sqrt() / curvature)
