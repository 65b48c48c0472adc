"""Statistics of several runs' accuracies, and comparisons of them. SciPy is imported when it is needed."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import msgspec

LEVEL = 0.05


class Summary(msgspec.Struct, frozen=True):
    """Summary of one configuration's test accuracies. Values that need two runs are None with one."""

    n: int
    mean: float
    deviation: float | None = None
    """Standard deviation of a run, n - 1 in the denominator."""
    error: float | None = None
    """Standard error of the mean."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the mean, by Student's t, limited to 0 to 1."""


class Comparison(msgspec.Struct, frozen=True):
    """Welch's t-test of two configurations: `difference` is first minus second."""

    difference: float
    error: float
    """Standard error of the difference."""
    interval: tuple[float, float]
    """95 % confidence interval of the difference, from -1 to 1."""
    p: float
    """Two-sided; Holm-corrected where several pairs are compared."""


def summary_of(values: Sequence[float]) -> Summary:
    """Summarise one or more test accuracies."""
    count, mean = len(values), fmean(values)
    if count < 2:
        return Summary(count, mean)
    deviation = stdev(values)
    error = deviation / math.sqrt(count)
    reach = _t_quantile(count - 1) * error
    return Summary(count, mean, deviation, error, (max(0.0, mean - reach), min(1.0, mean + reach)))


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison | None:
    """Compare two configurations by Welch's t-test (B. L. Welch, Biometrika 34, 1947); None below two runs each."""
    if len(first) < 2 or len(second) < 2:
        return None
    difference = fmean(first) - fmean(second)
    spreads = [stdev(values) ** 2 / len(values) for values in (first, second)]
    error = math.sqrt(sum(spreads))
    if error == 0:
        equal = difference == 0
        return Comparison(difference, 0.0, (difference, difference), 1.0 if equal else 0.0)
    freedom = sum(spreads) ** 2 / sum(
        spread**2 / (len(values) - 1) for spread, values in zip(spreads, (first, second), strict=True)
    )
    reach = _t_quantile(freedom) * error
    interval = (max(-1.0, difference - reach), min(1.0, difference + reach))
    return Comparison(difference, error, interval, _p_value(difference / error, freedom))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct for comparing several pairs (S. Holm, Scandinavian Journal of Statistics 6, 1979)."""
    count = len(p_values)
    corrected, largest = [0.0] * count, 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        corrected[index] = largest
    return tuple(corrected)


def verdict(names: tuple[str, str], values: tuple[Sequence[float], Sequence[float]], comparison: Comparison) -> str:
    """Return the outcome of a comparison as a sentence."""
    runs = min(len(values[0]), len(values[1]))
    if comparison.p >= LEVEL:
        return f"{runs} runs cannot separate {names[0]} from {names[1]}."
    better, worse = names if comparison.difference > 0 else names[::-1]
    likely = "p < 0.001" if comparison.p < 0.001 else f"p = {comparison.p:.3f}"
    return f"{better} beats {worse} by {abs(comparison.difference):.3f} ± {comparison.error:.3f}, {likely}."


def pairwise(groups: Sequence[tuple[str, Sequence[float]]]) -> tuple[tuple[str, Comparison], ...]:
    """Compare every configuration with the best one; return each verdict and its Holm-corrected comparison."""
    usable = sorted((group for group in groups if len(group[1]) > 1), key=lambda group: -fmean(group[1]))
    if len(usable) < 2:
        return ()
    (name, best), others = usable[0], usable[1:]
    comparisons = [comparison for _, values in others if (comparison := compare(best, values))]
    corrected = holm([comparison.p for comparison in comparisons])
    fair = [msgspec.structs.replace(some, p=p) for some, p in zip(comparisons, corrected, strict=True)]
    return tuple(
        (verdict((name, other), (best, values), some), some) for (other, values), some in zip(others, fair, strict=True)
    )


def _t_quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - LEVEL / 2))


def _p_value(t: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))
