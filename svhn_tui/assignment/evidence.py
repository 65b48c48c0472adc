"""Facts from the runs for the multiple-choice questions, each sentence with its figures. Pure, with SciPy."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil
from statistics import fmean, stdev

import msgspec

from engine.core.spec import Network
from engine.protocol import Statement, Verdict
from svhn_tui import words
from svhn_tui.analysis import statistics
from svhn_tui.analysis.comparison import Side, data_names, full_names_of, sides_of_runs
from svhn_tui.assignment.answers import answer_of
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question

VERDICTS: dict[Verdict, str] = {"open": "? open", "true": "✓ true", "false": "✗ false"}
POWER = (1.96 + 0.84) ** 2
"""For a two-sided test at 5 % that finds a difference four times in five (J. Cohen, Statistical Power Analysis)."""


class Fact(msgspec.Struct, frozen=True):
    """A fact from the runs: a title, a sentence for each finding, and a line of figures a configuration."""

    title: str
    sentences: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()


def statement_line(statement: Statement) -> str:
    """Format a statement in one line: `✓ true  Wider networks ...`."""
    return f"{VERDICTS[statement.verdict]}  {words.clean(statement.text)}"


def facts_of(question: Question, book: Presets, state: State) -> tuple[Fact, ...]:
    """Return the facts for a multiple-choice question, from the runs of the questions that it is about."""
    known = _sides(question, book, state)
    if not known:
        return ()
    sides, data = _of_one_data_set(known, question, book, state)
    facts = (data, _accuracy(sides), _width(sides), _depth(sides), _gap(sides), _spread(sides), _convergence(sides),
             _time(sides), _units(sides), _open_points(sides))  # fmt: skip
    return tuple(fact for fact in facts if fact.sentences or fact.figures)


def _sides(question: Question, book: Presets, state: State) -> tuple[Side, ...]:
    """Return the configurations behind the answers of these questions, or behind the answer about their file."""
    about = set(question.evidence)
    asked = [other for other in book.questions if other.answer and (other.id in about or other.answer.of in about)]
    runs = dict.fromkeys(run_id for other in asked for run_id in answer_of(other, book, state).runs)
    return tuple(side for side in sides_of_runs(runs, state) if side.results)


def _of_one_data_set(
    sides: Sequence[Side], question: Question, book: Presets, state: State
) -> tuple[tuple[Side, ...], Fact]:
    """Return the sides on the question's data set, or else on that of the first side, and a fact about the others."""
    sets = list(dict.fromkeys(side.data for side in sides))
    own = state.on(book.data_of(question)).data
    chosen = own.fingerprint if own is not None and own.fingerprint in sets else sets[0]
    of_one = [side for side in sides if side.data == chosen]
    names = full_names_of([side.configuration for side in of_one])
    named = tuple(msgspec.structs.replace(side, name=name) for side, name in zip(of_one, names, strict=True))
    if len(sets) == 1:
        return named, Fact("Data set")
    called = {
        data: words.clean(name) for data, name in data_names(run for side in sides for run in side.results).items()
    }
    others = ", ".join(called[data] for data in sets if data != chosen)
    text = f"All of this is about {called[chosen]}; the runs on {others} that {question.id} is about too are left out."
    return named, Fact("Data set", (text, f"`data` of {question.id} in experiments.json chooses another one."))


def _name(side: Side) -> str:
    return side.name


def _mean(side: Side) -> float:
    return fmean(side.accuracies)


def _accuracy(sides: Sequence[Side]) -> Fact:
    by_size = sorted(sides, key=lambda side: (side.parameters, _name(side)))
    figures = tuple(
        (
            _name(side),
            f"{words.count(side.parameters)} parameters, {_spread_of(side)}, n = {len(side.results)}",
        )
        for side in by_size
    )
    sentences = []
    steps = [(one, other) for one, other in pairwise(by_size) if other.parameters > one.parameters]
    if len(steps) > 1:
        risen = sum(_mean(larger) > _mean(smaller) for smaller, larger in steps)
        sentences.append(f"In {risen} of {len(steps)} steps to more parameters the mean test accuracy is higher.")
        best = max(by_size, key=_mean)
        if best is not by_size[-1]:
            sentences.append(f"The best mean is {_name(best)}'s, not that of the largest network.")
    verdicts = statistics.pairwise([(_name(side), side.accuracies) for side in sides])
    return Fact("Accuracy against parameters", (*sentences, *(sentence for sentence, _ in verdicts)), figures)


def _spread_of(side: Side) -> str:
    return words.spread(_mean(side), stdev(side.accuracies) if len(side.accuracies) > 1 else None)


def _width(sides: Sequence[Side]) -> Fact:
    pairs = [(one, other) for one in sides for other in sides if _is_wider(_network(other), _network(one))]
    return Fact("Width", tuple(_effect(one, other) for one, other in pairs))


def _depth(sides: Sequence[Side]) -> Fact:
    pairs = [(one, other) for one in sides for other in sides if _is_deeper(_network(other), _network(one))]
    return Fact("Depth", tuple(_effect(one, other) for one, other in pairs))


def _network(side: Side) -> Network:
    return side.configuration.network


def _is_wider(one: Network, other: Network) -> bool:
    """Say whether just one layer of as many is wider, all else equal."""
    if one.activation != other.activation or len(one.hidden) != len(other.hidden):
        return False
    differing = [(a, b) for a, b in zip(one.hidden, other.hidden, strict=True) if a != b]
    return len(differing) == 1 and differing[0][0] > differing[0][1]


def _is_deeper(one: Network, other: Network) -> bool:
    """Say whether one more layer of the same width is the only difference."""
    if one.activation != other.activation or not other.hidden:
        return False
    return one.hidden == (*other.hidden, other.hidden[-1]) and len(set(one.hidden)) == 1


def _effect(one: Side, other: Side) -> str:
    """Describe the difference of two sides, and say whether it is significant."""
    change = _mean(other) - _mean(one)
    comparison = statistics.compare(other.accuracies, one.accuracies)
    sure = "one run says nothing of chance"
    if comparison is not None:
        sure = "clear" if comparison.p < statistics.LEVEL else "not clear"
        sure += f", p {'< 0.001' if comparison.p < 0.001 else f'= {comparison.p:.3f}'}"
    return f"{_name(one)} to {_name(other)}: {_signed(change)} ({sure})."


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else words.MINUS}{words.accuracy(abs(value))}"


def _gap(sides: Sequence[Side]) -> Fact:
    known = [(side, side.gap) for side in sides if side.gap is not None]
    figures = tuple((_name(side), f"{_signed(gap)} train − test accuracy") for side, gap in known)
    if len(known) < 2:
        return Fact("Generalisation gap", (), figures)
    widest = max(known, key=lambda item: item[1])
    return Fact("Generalisation gap", (f"It is the widest for {_name(widest[0])}.",), figures)


def _spread(sides: Sequence[Side]) -> Fact:
    several = [side for side in sides if len(side.accuracies) > 1]
    figures = tuple(
        (_name(side), f"std {words.accuracy(stdev(side.accuracies))}, from {words.accuracy(min(side.accuracies))} "
                      f"to {words.accuracy(max(side.accuracies))}, n = {len(side.accuracies)}")
        for side in several
    )  # fmt: skip
    return Fact("Spread between seeds", (), figures)


def _convergence(sides: Sequence[Side]) -> Fact:
    figures = []
    for side in sides:
        slopes = [run.slope for run in side.results if run.slope is not None]
        errors = [run.slope_error for run in side.results if run.slope_error is not None]
        if slopes and errors:
            gain, error = 10 * fmean(slopes), 10 * fmean(errors) / len(errors) ** 0.5
            figures.append(
                (_name(side), f"{_signed(gain)} ± {words.accuracy(error)} in ten epochs: {side.convergence}")
            )
    rising = [_name(side) for side in sides if side.convergence == "still rising"]
    sentence = f"Still rising at the last epoch: {', '.join(rising)}." if rising else "No mean curve still rises."
    return Fact("Convergence at the last epoch", (sentence,) if figures else (), tuple(figures))


def _time(sides: Sequence[Side]) -> Fact:
    figures = []
    for side in sides:
        epochs = side.configuration.training.epochs
        seconds = fmean(run.seconds / epochs for run in side.results)
        figures.append((_name(side), f"{words.number(seconds)} s an epoch"))
    return Fact("Training time", (), tuple(figures))


def _units(sides: Sequence[Side]) -> Fact:
    figures = [
        *_share(sides, "dead_units", "of the hidden ReLU units never active on the test images"),
        *_share(sides, "saturated_units", "of the hidden tanh activations beyond ±0.99"),
    ]
    return Fact("Hidden units", (), tuple(figures))


def _share(sides: Sequence[Side], name: str, words_for_it: str) -> Iterable[tuple[str, str]]:
    for side in sides:
        values = [value for run in side.results if (value := getattr(run, name)) is not None]
        if values:
            yield _name(side), f"{100 * fmean(values):.1f} % {words_for_it}"


def _open_points(sides: Sequence[Side]) -> Fact:
    """Say how many runs each would separate the best configuration from those that are not significantly worse."""
    several = sorted((side for side in sides if len(side.accuracies) > 1), key=lambda side: -_mean(side))
    sentences = []
    for other in several[1:]:
        best = several[0]
        comparison = statistics.compare(best.accuracies, other.accuracies)
        if comparison is None or comparison.p < statistics.LEVEL or not comparison.difference:
            continue
        spread = (stdev(best.accuracies) ** 2 + stdev(other.accuracies) ** 2) / 2
        runs = max(2, ceil(2 * POWER * spread / comparison.difference**2))
        sentences.append(
            f"{_name(best)} and {_name(other)} differ by {words.accuracy(comparison.difference)}: about "
            f"{words.count(runs)} runs each would settle it."
        )
    return Fact("What more runs would settle", tuple(sentences))
