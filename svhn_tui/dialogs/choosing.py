"""Functions that ask the user in a dialog and return the command for the engine; None if nothing is to change.

The dialogs themselves are loaded when they are first opened: the first frame does not wait for them.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from textual.app import App

from engine import protocol as p
from engine.core import sweep as plan
from svhn_tui.analysis.progress import Overrides, progress_of, with_finalists
from svhn_tui.assignment.evidence import facts_of
from svhn_tui.client.state import State
from svhn_tui.presets import ModelFile, Presets, Question


async def chosen_run(app: App[Any], question: Question, book: Presets, state: State) -> p.Choose | None:
    """Ask for the run whose file the question hands in."""
    from svhn_tui.dialogs.dialogs import HandIn

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
    from svhn_tui.dialogs.dialogs import PickFinalists

    progress = progress_of(question, book, state)
    sweep = progress.sweep
    if state.data is None or sweep is None or sweep.finalists is None:
        return None
    finalists = plan.finalists(sweep, state.accuracies)
    chosen = await app.push_screen_wait(PickFinalists(progress.rows, sweep.finalists, finalists))
    return None if chosen is None else book.submit(with_finalists(sweep, chosen))


async def judged_statement(app: App[Any], question: Question, book: Presets, state: State) -> p.Judge | None:
    """Ask for a statement of the grader's and the verdict on it, a new one or one to edit."""
    from svhn_tui.dialogs.statements import EditStatement, PickStatement

    known = state.statements.get(question.id, ())
    index = await app.push_screen_wait(PickStatement(known)) if known else -1
    if index is None:
        return None
    facts = [fact.title for fact in facts_of(question, book, state)]
    return await app.push_screen_wait(EditStatement(question.id, facts, known[index] if index >= 0 else None))


async def chosen_fleet(app: App[Any], fleet: p.Fleet) -> p.SetFleet | None:
    """Ask where to train."""
    from svhn_tui.dialogs.dialogs import WhereToTrain

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
    from svhn_tui.dialogs.sweep_form import SweepForm

    return await app.push_screen_wait(SweepForm(folder, data, state))


async def runs_to_restore(app: App[Any], results: Sequence[p.RunResult]) -> p.Restore | None:
    """Ask which runs to restore from the trash."""
    from svhn_tui.dialogs.dialogs import Trash

    if not results:
        app.notify("The trash is empty.")
        return None
    ticked = await app.push_screen_wait(Trash(results))
    return p.Restore(runs=tuple(results[index].run_id for index in ticked)) if ticked else None


async def chosen_overrides(app: App[Any], title: str, sweep: plan.Sweep) -> Overrides | None:
    """Ask for other epochs and seeds than a question's sweep has."""
    from svhn_tui.dialogs.dialogs import RunWith

    return await app.push_screen_wait(RunWith(title, sweep.configurations[0].training.epochs, len(sweep.seeds)))


async def is_confirmed(app: App[Any], text: str) -> bool:
    """Ask whether to do something."""
    from svhn_tui.dialogs.dialogs import Confirm

    return await app.push_screen_wait(Confirm(text))


async def are_trusted(app: App[Any], files: Iterable[ModelFile]) -> bool:
    """Ask whether these model files may run."""
    from svhn_tui.dialogs.trusting import TrustModelFiles

    return await app.push_screen_wait(TrustModelFiles(files))
