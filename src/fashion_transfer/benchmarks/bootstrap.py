"""The percentile bootstrap over images, of metrics that are means over seeds."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

RESAMPLES = 2000
"""Of the images, for the interval."""

Values = dict[str, np.ndarray]
"""What was measured of each image, by name, (N, …) each."""


def bootstrap(
    of_seeds: Sequence[Mapping[str, Values]],
    measure: Callable[[Mapping[str, Values]], Mapping[str, float]],
) -> dict[str, dict[str, float]]:
    """Returns `mean`, `low` and `high` of each metric that has a value in every seed.

    The interval is the percentile bootstrap (Efron & Tibshirani 1993, "An introduction to the
    bootstrap", section 13.3) over images: a resample has the same images in every seed.

    Args:
        of_seeds: for each seed, by name of a set of images, what was measured of its images.
        measure: gives the metrics of one seed by name, of its images or of a resample of them.
    """
    draw = np.random.default_rng(0)
    sizes = {name: len(next(iter(values.values()))) for name, values in of_seeds[0].items()}
    samples = []
    for resample in range(RESAMPLES + 1):
        rows = {
            name: np.arange(size) if resample == 0 else draw.integers(0, size, size)
            for name, size in sizes.items()
        }
        per_seed = [
            measure({s: {n: v[rows[s]] for n, v in of_set.items()} for s, of_set in sets.items()})
            for sets in of_seeds
        ]
        samples.append({name: float(np.mean([s[name] for s in per_seed])) for name in per_seed[0]})
    summary = {}
    for name, mean in samples[0].items():
        if np.isnan(mean):  # the selective accuracy where every image is warned
            continue
        low, high = np.nanpercentile([sample[name] for sample in samples[1:]], [2.5, 97.5])
        summary[name] = {"mean": mean, "low": float(low), "high": float(high)}
    return summary
