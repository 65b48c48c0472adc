"""The answers in the exact form that is handed in, each with its state and the reason. Pure.

An answer is computed from the runs that the question asks for. While there are none, runs of the same networks with
other settings give an answer in the same form that says so.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Literal

import msgspec

from engine.core.spec import Configuration
from engine.core.sweep import Sweep, asked
from engine.protocol import RunResult
from svhn_tui import words
from svhn_tui.analysis.progress import other_runs
from svhn_tui.analysis.queue_entries import seeds_text
from svhn_tui.analysis.statistics import summary_of
from svhn_tui.assignment.answer_text import AnswerRuns, fragile_digits, fragile_winner, names_of_parts, text_of
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question

Trust = Literal["missing", "partial", "demo", "not-as-asked", "ready", "stale", "fragile", "diverged"]


class Answer(msgspec.Struct, frozen=True):
    """The text to hand in for a question; None while it is not known."""

    question: str
    text: str | None
    state: Trust
    reason: str
    parts: tuple[AnswerRuns, ...] = ()
    demo_data: bool = False
    flags: tuple[str, ...] = ()
    """Runs that did not learn, and the mean without them; they are part of the answer."""

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that the answer was made from."""
        return tuple(result.run_id for part in self.parts for result in part.results)


def answer_of(question: Question, book: Presets, state: State) -> Answer:
    """Work out a question's answer."""
    if question.answer is None:
        return Answer(question.id, None, "missing", "This question asks for no number.")
    state = state.on(book.data_of(question))
    if state.data is None:
        return Answer(question.id, None, "missing", "No data is open yet.")
    sweep = book.sweep(question, state.data.fingerprint)
    if sweep is None:
        return Answer(question.id, None, "missing", "The question names no runs.")
    sweep = state.as_chosen(sweep)
    if question.answer.format == "file":
        source = book.question(question.answer.of or "")
        parts = _part_of_file(source, sweep, state)
    else:
        parts = _parts(sweep, state)
    if not any(part.results for part in parts):
        return _from_other_runs(question, sweep, state) or _from_before(question, sweep, state)
    return _judged(question, parts, state)


def as_json(answers: Sequence[Answer]) -> dict[str, dict[str, Any]]:
    """Return the answer as `answers --json` prints it."""
    return {
        answer.question: {
            "answer": answer.text,
            "state": answer.state,
            "reason": answer.reason,
            "runs": list(answer.runs),
            "demo_data": answer.demo_data,
            "flags": list(answer.flags),
            "parts": [
                {
                    "configuration": part.configuration.label,
                    "needed": part.needed,
                    **(msgspec.to_builtins(summary_of(part.accuracies)) if part.results else {"n": 0, "mean": None}),
                    "values": list(part.accuracies),
                }
                for part in answer.parts
            ],
        }
        for answer in answers
    }


def all_answers(book: Presets, state: State) -> tuple[Answer, ...]:
    """Work out every question that asks for numbers."""
    return tuple(answer_of(question, book, state) for question in book.questions if question.answer)


def file_run(source: Question, book: Presets, state: State) -> RunResult | None:
    """Return the run whose file a training question hands in: the chosen one, or else the first seed's.

    While there is none, it is the run with other settings that the answer about the file is made from.
    """
    state = state.on(book.data_of(source))
    if state.data is None or (sweep := book.sweep(source, state.data.fingerprint)) is None:
        return None
    results = _part_of_file(source, sweep, state)[0].results
    if not results and (about := answer_about(source, book, state)) is not None:
        results = tuple(run for part in about.parts for run in part.results)
    return results[0] if results else None


def answer_about(source: Question, book: Presets, state: State) -> Answer | None:
    """Return the answer to the question about this one's file, if there is such a question."""
    about = next((other for other in book.questions if other.answer and other.answer.of == source.id), None)
    return answer_of(about, book, state) if about is not None else None


def _parts(sweep: Sweep, state: State) -> tuple[AnswerRuns, ...]:
    specs = asked(sweep, state.accuracies)
    parts = []
    for configuration in sweep.configurations:
        runs = [spec.run_id for spec in specs if spec.configuration == configuration]
        done = tuple(state.results[run_id] for run_id in runs if run_id in state.results)
        parts.append(AnswerRuns(configuration, len(runs), done))
    return tuple(parts)


def _part_of_file(source: Question, sweep: Sweep, state: State) -> tuple[AnswerRuns, ...]:
    chosen = state.results.get(state.choices.get(source.id, ""))
    if chosen is not None and chosen.spec.configuration == sweep.configurations[0] and chosen.spec.data == sweep.data:
        return (AnswerRuns(sweep.configurations[0], 1, (chosen,)),)
    first = asked(sweep, {})[0].run_id
    result = state.results.get(first)
    return (AnswerRuns(sweep.configurations[0], 1, (result,) if result else ()),)


def _judged(
    question: Question, parts: tuple[AnswerRuns, ...], state: State, *, other: str = "", stale: str = ""
) -> Answer:
    """Write the answer and determine its state.

    Args:
        question: the question.
        parts: the runs behind it.
        state: of the workspace.
        other: settings in which the runs differ from the question; empty without any.
        stale: why the answer is about an earlier question or other data; empty if it is not.
    """
    is_demo = any(result.demo_data for part in parts for result in part.results)
    text = text_of(question, parts)

    def answer(trust: Trust, reason: str) -> Answer:
        return Answer(question.id, text, trust, reason, parts, is_demo, flags_of(parts, state))

    done, needed = sum(len(part.results) for part in parts), sum(part.needed for part in parts)
    demo = " They are of demo data, not of the assignment's." if is_demo else ""
    changed = _changed_file(parts, state) if question.answer and question.answer.format == "file" else ""
    if changed or stale:
        return answer("stale", changed or stale)
    if diverged := diverged_text(parts):
        return answer("diverged", f"{diverged}{f' They have {other}.' if other else ''}{demo}")
    if other:
        return answer("not-as-asked", f"Runs with {other}; the question asks for others.{demo}")
    if done < needed:
        return answer("partial", f"{done} of {needed} runs are done.{demo}")
    if is_demo:
        return answer("demo", "Made from demo data: open the assignment's files and run again before handing in.")
    if fragile := fragile_winner(question, parts) or fragile_digits(question, parts):
        return answer("fragile", fragile)
    return answer("ready", "All runs are as asked.")


def diverged_text(parts: Sequence[AnswerRuns]) -> str:
    """Say which of the runs diverged: `2 of 10 runs diverged (tanh 256: seeds 3, 4); ...`; empty if none."""
    runs = [run for part in parts for run in part.results]
    bad = {name: seeds_text(seeds) for name, part in zip(names_of_parts(parts), parts, strict=True)
           if (seeds := [run.spec.seed for run in part.results if run.diverged])}  # fmt: skip
    if not bad:
        return ""
    named = "; ".join(f"{name}: {seeds}" for name, seeds in bad.items())
    count = f"{sum(run.diverged for run in runs)} of {words.plural(len(runs), 'run')} diverged ({named})"
    return f"{count}: the weights are not numbers, so the network has learnt nothing."


def is_unfit(run: RunResult, source: Question, state: State) -> bool:
    """Say whether a question's file is not handed in: the run diverged, and no choice names it."""
    return run.diverged and state.choices.get(source.id) != run.run_id


def flags_of(parts: Sequence[AnswerRuns], state: State) -> tuple[str, ...]:
    """Name the runs that diverged or are at chance level, with the mean of the others."""
    chance, flags = chance_level(state), []
    for name, part in zip(names_of_parts(parts), parts, strict=True):
        unlearned = [run for run in part.results if run.diverged or run.accuracy_or_nan <= chance]
        if not unlearned:
            continue
        others = [run.accuracy_or_nan for run in part.results if run not in unlearned]
        without = f"; the mean of the others is {words.accuracy(fmean(others))}" if others else ""
        count = f"{len(unlearned)} of {words.plural(len(part.results), 'run')}"
        seeds = seeds_text([run.spec.seed for run in unlearned])
        flags.append(f"{name}: {count} diverged or at chance level ({seeds}){without}.")
    return tuple(flags)


def chance_level(state: State) -> float:
    """Return the accuracy up to which a run may always predict the most frequent class.

    It is the share of that class in the test set and two standard errors of a proportion; 0 without data.
    """
    if state.data is None or not state.data.test_images:
        return 0.0
    share = max(state.data.test_counts) / state.data.test_images
    return share + 2 * math.sqrt(share * (1 - share) / state.data.test_images)


def _from_other_runs(question: Question, sweep: Sweep, state: State) -> Answer | None:
    """Answer from runs of the same networks on the same data with other settings."""
    others = other_runs(sweep, state)
    if others is None:
        return None
    is_file = question.answer is not None and question.answer.format == "file"
    parts = []
    for configuration, runs in zip(sweep.configurations, others.runs, strict=True):
        done = tuple(state.results[run_id] for run_id in runs if run_id in state.results)
        chosen = done[:1] if is_file else done
        parts.append(AnswerRuns(Configuration(configuration.network, others.training), max(1, len(chosen)), chosen))
    if not any(part.results for part in parts):
        return None
    return _judged(question, tuple(parts), state, other=others.other)


def _from_before(question: Question, sweep: Sweep, state: State) -> Answer:
    """Answer from an earlier version of the question or other data in use: a stale answer."""
    old: list[tuple[float, Sweep]] = []
    for before in state.sweeps.values():
        done = [state.results[run.run_id] for run in asked(before, state.accuracies) if run.run_id in state.results]
        if before.title == sweep.title and done and not any(run.demo_data for run in done):
            old.append((max(run.finished_at for run in done), before))
    if not old:
        return Answer(question.id, None, "missing", "None of its runs is done.")
    _, before = max(old, key=lambda item: item[0])
    what = "The data in use" if before.data != sweep.data else f"What {sweep.title} asks for in experiments.json"
    is_file = question.answer is not None and question.answer.format == "file"
    parts = _parts(before, state)
    return _judged(
        question,
        tuple(msgspec.structs.replace(part, needed=1, results=part.results[:1]) for part in parts[:1])
        if is_file
        else parts,
        state,
        stale=f"{what} changed since these runs were trained: train again.",
    )


def _changed_file(parts: Sequence[AnswerRuns], state: State) -> str:
    for result in (result for part in parts for result in part.results):
        if why := state.unreadable.get(result.run_id):
            return f"The file of run {result.run_id} cannot be read ({why}): it cannot be handed in as it is."
        if result.run_id not in state.files:
            continue
        sha256 = state.files[result.run_id]
        if sha256 is None:
            return f"The file of run {result.run_id} is gone: delete the run and train it again."
        if sha256 != result.model_sha256:
            return (
                f"The file of run {result.run_id} changed since it was trained: this answer is not about it any more."
            )
    return ""
