"""Verifies files in TensorFlow: those of an export, or one that the user names.

A start of TensorFlow takes seconds, so one process verifies all files, one after another; should it crash at one of
them, another process verifies the rest. Building an own model runs a model file of the user's: what that file builds is
verified in a process of its own.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from engine.machine import child_process, tool_process
from engine.storage import approvals
from engine.storage.run_check import SOURCE
from engine.storage.run_folder import RunFolder
from engine.tools.verification import Requirement, VerifyOutcome, VerifyTask
from svhn_tui.client.state import State
from svhn_tui.export.export import Exported
from svhn_tui.presets import Presets


def verified(
    files: Sequence[Exported], folder: Path, book: Presets, state: State, report: Callable[[Exported], None]
) -> tuple[Exported, ...]:
    """Verify exported files as the grader would; return them with the outcomes.

    Args:
        files: the exported items.
        folder: where they are.
        book: the questions.
        state: the workspace of their runs.
        report: is called with each item and its outcome as soon as that is known.
    """
    items = [*map(_approved, files)]
    limits = {question.upload.file: question.upload.limit_mib for question in book.questions if question.upload}
    tasks = [_task(thing, folder, limits, state) for thing in items]
    for thing, task in zip(items, tasks, strict=True):
        if task is None:
            report(thing)

    def receive(task: VerifyTask, outcome: VerifyOutcome) -> None:
        index = tasks.index(task)
        items[index] = _compared(items[index], outcome)
        report(items[index])

    check([task for task in tasks if task is not None], receive)
    return tuple(items)


def outcome_of(task: VerifyTask) -> VerifyOutcome:
    """Verify a file and return the outcome."""
    outcomes: dict[VerifyTask, VerifyOutcome] = {}
    check([task], outcomes.__setitem__)
    return outcomes[task]


def check(tasks: Sequence[VerifyTask], report: Callable[[VerifyTask, VerifyOutcome], None]) -> None:
    """Verify files, those of one model file together; `report` is called with each task as soon as it is done."""
    groups: dict[str, list[VerifyTask]] = {}
    for task in tasks:
        groups.setdefault(_model_file_of(task), []).append(task)
    for group in groups.values():
        while group:
            _check_alike(group, report)


def _model_file_of(task: VerifyTask) -> str:
    """Return the hash of the model file that runs when a file is verified; empty where none does."""
    model = task.asked.configuration.network.model if task.asked is not None else None
    return model.sha256 if model is not None else ""


def _check_alike(left: list[VerifyTask], report: Callable[[VerifyTask, VerifyOutcome], None]) -> None:
    """Verify files in one process; those after a file at which it ended are left."""

    def receive(line: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError):  # it ended within the line
            outcome = msgspec.json.decode(line, type=VerifyOutcome)
            report(left.pop(0), outcome)

    done = tool_process.stream(child_process.tool("engine.tools.verify"), receive, msgspec.json.encode(left))
    if left:
        report(left.pop(0), VerifyOutcome(problem=f"It could not be verified: the process {done.how_ended}."))


def _approved(thing: Exported) -> Exported:
    """Return the item, marked as not verified if its model file may not run."""
    model = thing.run.spec.configuration.network.model if thing.run is not None else None
    if model is None or not (problem := approvals.refusal(model.sha256)):
        return thing
    return msgspec.structs.replace(thing, text=f"{thing.text}; not verified. {problem}", ok=False)


def _task(thing: Exported, folder: Path, limits: Mapping[str, float | None], state: State) -> VerifyTask | None:
    """Return the task of verifying an item; None for code, a missing file, and a run whose data is unknown.

    Args:
        thing: the item.
        folder: where it is.
        limits: the largest size of a file in MiB, by its name.
        state: the workspace of its run.
    """
    if thing.run is None or not thing.ok or (data := state.about(thing.run.spec.data).data) is None:
        return None
    configuration = thing.run.spec.configuration
    is_own = configuration.network.model is not None
    source = RunFolder(Path(state.workspace), thing.run.run_id).path.absolute() / SOURCE
    return VerifyTask(
        file=str((folder / thing.name).absolute()),
        data=data.paths,
        layout=data.layout,
        asked=Requirement(configuration, limits.get(thing.name)),
        model_file=str(source) if is_own else None,
    )


def _compared(thing: Exported, outcome: VerifyOutcome) -> Exported:
    """Compare a file with the record of its run."""
    assert thing.run is not None
    verification = outcome.verification
    if verification is None:
        return msgspec.structs.replace(thing, text=f"{thing.text}; {outcome.problem}", ok=False)
    count = f"{verification.test_correct:,} of {verification.test_images:,} right in TensorFlow"
    if thing.run.diverged:
        return msgspec.structs.replace(thing, text=f"{thing.text}; diverged, handed in by your choice; {count}")
    wrong = [f"{check.name}: {check.text}" for check in verification.checks if check.ok is False]
    if verification.test_correct != thing.run.test_correct:
        wrong.insert(0, f"recorded are {thing.run.test_correct:,}")
    text = f"NOT as recorded, {count} ({'; '.join(wrong)})" if wrong else f"verified, {count}"
    return msgspec.structs.replace(thing, text=f"{thing.text}; {text}", ok=thing.ok and not wrong)
