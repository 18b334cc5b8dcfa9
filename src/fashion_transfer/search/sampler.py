"""The sampler of a search: TPE, with draws that depend on the trial and not on the process."""

import hashlib
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

DIGITS = 4
"""Significant digits of a value drawn from a continuous range: more would only be hard to read."""


class SeededSampler(BaseSampler):
    """Draws a trial's values by TPE from (study seed, trial number, key) and the trials before it.

    A sampler that goes on drawing from one generator would give a continued study other values
    than one that never stopped. Bergstra et al. 2011, "Algorithms for hyper-parameter
    optimization".

    Args:
        seed: of the study, from 0.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns the parameters that are drawn together."""
        return self._sampler(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns values of parameters that are drawn together."""
        values = self._sampler(trial).sample_relative(study, trial, search_space)
        return {key: rounded(value, search_space[key]) for key, value in values.items()}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Returns a value of one parameter: at random, while there are few trials."""
        sampler = self._sampler(trial, param_name)
        value = sampler.sample_independent(study, trial, param_name, param_distribution)
        return rounded(value, param_distribution)

    def _sampler(self, trial: FrozenTrial, key: str = "") -> TPESampler:
        text = f"{self.seed}/{trial.number}/{key}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        # Trials under way in another process count as bad ones: two do not try the same values.
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def rounded(value: Any, distribution: BaseDistribution) -> Any:
    """Returns a value with `DIGITS` significant digits, if its range is continuous."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None:
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), distribution.low), distribution.high)
