"""Asks the user in a dialog, and returns the command for the engine; None where nothing is to change."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from textual.app import App

from engine import protocol as p
from engine.core import sweep as plan
from svhn_tui.analysis.progress import progress_of, with_finalists
from svhn_tui.assignment.evidence import facts_of
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialogs import HandIn, PickFinalists, Trash, WhereToTrain
from svhn_tui.dialogs.statements import EditStatement, PickStatement
from svhn_tui.presets import Presets, Question


async def chosen_run(app: App[Any], question: Question, book: Presets, state: State) -> p.Choose | None:
    """Ask for the run whose file the question hands in."""
    configurations = book.configurations(question)
    state = state.on(book.data_of(question))
    data = state.data.fingerprint if state.data else ""
    runs = [run for run in state.results.values() if run.spec.configuration in configurations and run.spec.data == data]
    if not runs:
        app.notify("None of its runs is done yet, as the question asks for them.")
        return None
    runs.sort(key=lambda run: run.spec.seed)
    title = f"{question.id}  The run whose file is handed in"
    run_id = await app.push_screen_wait(HandIn(title, runs, state.choices.get(question.id, "")))
    return None if run_id is None else p.Choose(question=question.id, run_id=run_id or None)


async def chosen_finalists(app: App[Any], question: Question, book: Presets, state: State) -> p.Submit | None:
    """Ask for the finalists."""
    progress = progress_of(question, book, state)
    sweep = progress.sweep
    if state.data is None or sweep is None or sweep.finalists is None:
        return None
    finalists = plan.finalists(sweep, state.accuracies)
    chosen = await app.push_screen_wait(PickFinalists(progress.rows, sweep.finalists, finalists))
    return None if chosen is None else book.submit(with_finalists(sweep, chosen))


async def judged_statement(app: App[Any], question: Question, book: Presets, state: State) -> p.Judge | None:
    """Have a statement of the grader's pasted, or one looked at again."""
    known = state.statements.get(question.id, ())
    index = await app.push_screen_wait(PickStatement(known)) if known else -1
    if index is None:
        return None
    facts = [fact.title for fact in facts_of(question, book, state)]
    return await app.push_screen_wait(EditStatement(question.id, facts, known[index] if index >= 0 else None))


async def chosen_fleet(app: App[Any], fleet: p.Fleet) -> p.SetFleet | None:
    """Ask where to train."""
    chosen = await app.push_screen_wait(WhereToTrain(fleet))
    return None if chosen in (None, fleet) else p.SetFleet(fleet=chosen)


async def new_question(app: App[Any], folder: Path, data: Collection[str], state: State) -> Question | None:
    """Ask for a sweep of the user's own; return it as a question, which is saved in the presets of this folder.

    Args:
        app: that shows the form.
        folder: of the presets.
        data: the names of their data sets.
        state: for the forecast.
    """
    from svhn_tui.dialogs.sweep_form import SweepForm  # not needed before the first frame

    return await app.push_screen_wait(SweepForm(folder, data, state))


async def runs_to_restore(app: App[Any], results: Sequence[p.RunResult]) -> p.Restore | None:
    """Ask which runs to bring back from the trash."""
    if not results:
        app.notify("The trash is empty.")
        return None
    ticked = await app.push_screen_wait(Trash(results))
    return p.Restore(runs=tuple(results[index].run_id for index in ticked)) if ticked else None
