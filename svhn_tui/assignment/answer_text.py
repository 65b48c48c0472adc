"""The text of an answer from its runs, and how certain it is: its digits, and the best configuration. Pure."""

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import fmean, variance

import msgspec

from engine.core.spec import Configuration
from engine.protocol import RunResult
from svhn_tui import words
from svhn_tui.analysis.comparison import full_names_of
from svhn_tui.presets import Question


class AnswerRuns(msgspec.Struct, frozen=True):
    """The runs behind one number of an answer."""

    configuration: Configuration
    needed: int
    results: tuple[RunResult, ...]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Test accuracy of each run."""
        return tuple(result.accuracy_or_nan for result in self.results)


def names_of_parts(parts: Sequence[AnswerRuns]) -> tuple[str, ...]:
    """Return names that distinguish the configurations of an answer."""
    return full_names_of([part.configuration for part in parts])


def text_of(question: Question, parts: tuple[AnswerRuns, ...]) -> str | None:
    """Write the answer; None while a number of it has no run."""
    if question.answer is None or not all(part.results for part in parts):
        return None
    decimals = question.answer.decimals
    match question.answer.format:
        case "file":
            result = parts[0].results[0]
            return f"{result.trainable_parameters}, {written(result.accuracy_or_nan, decimals)}"
        case "means":
            return ", ".join(written(fmean(part.accuracies), decimals) for part in parts)
        case "best":
            index = best_of(parts)
            parameters = parts[index].results[0].trainable_parameters
            return f"{index}, {written(fmean(parts[index].accuracies), decimals)}, {parameters}"


def best_of(parts: Sequence[AnswerRuns]) -> int:
    """Return the 0-based index of the best mean among the configurations with the most required runs."""
    most = max(part.needed for part in parts if part.results)
    asked_most = [index for index, part in enumerate(parts) if part.needed == most and part.results]
    return max(asked_most, key=lambda index: (fmean(parts[index].accuracies), -index))


def fragile_winner(question: Question, parts: Sequence[AnswerRuns]) -> str:
    """Say that one more run could change the best configuration: the second is within one standard error."""
    if question.answer is None or question.answer.format != "best":
        return ""
    best, names = best_of(parts), names_of_parts(parts)
    for index, part in enumerate(parts):
        if index == best or len(part.results) < 2 or len(parts[best].results) < 2:
            continue
        error = _error_of_difference(part.accuracies, parts[best].accuracies)
        if fmean(parts[best].accuracies) - fmean(part.accuracies) <= error:
            pair = f"{names[best]} and {names[index]}"
            return f"{pair} are within one standard error of each other: the winner could change with other seeds."
    return ""


def fragile_digits(question: Question, parts: Sequence[AnswerRuns]) -> str:
    """Say which digits of a mean differ within one standard error: other seeds may change them."""
    if question.answer is None or question.answer.format == "file":
        return ""
    named = list(zip(names_of_parts(parts), parts, strict=True))
    unsure = []
    for name, part in named if question.answer.format == "means" else [named[best_of(parts)]]:
        if len(part.accuracies) < 2:
            continue
        mean, error = fmean(part.accuracies), math.sqrt(variance(part.accuracies) / len(part.accuracies))
        if firm_decimals(mean, error, question.answer.decimals) < question.answer.decimals:
            unsure.append(f"{name} {words.accuracy(mean)} ± {words.accuracy(error)}")
    if not unsure:
        return ""
    return f"All runs are as asked. The last digits change within one standard error: {', '.join(unsure)}."


def firm_decimals(mean: float, error: float, decimals: int) -> int:
    """Return how many decimals are the same within one standard error of a mean."""
    for count in range(decimals, 0, -1):
        if written(mean - error, count) == written(mean, count) == written(mean + error, count):
            return count
    return 0


def _error_of_difference(first: Sequence[float], second: Sequence[float]) -> float:
    return math.sqrt(variance(first) / len(first) + variance(second) / len(second))


def written(value: float, decimals: int) -> str:
    """Return a number with this many decimals, never in scientific notation; halves go to the even digit."""
    return f"{Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN):f}"
