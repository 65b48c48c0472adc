"""Verifies files in TensorFlow: those of an export, or one that the user names.

A start of TensorFlow takes seconds, so one process verifies all files, one after another; should it crash at one of
them, another process verifies the rest. Building an own model runs a model file of the user's: what that file builds is
verified in a process of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
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


def verified(files: Sequence[Exported], folder: Path, book: Presets, state: State) -> tuple[Exported, ...]:
    """Verify exported files as the grader would; return them with the outcomes.

    Args:
        files: the exported items.
        folder: where they are.
        book: the questions.
        state: the workspace of their runs.
    """
    files = tuple(map(_approved, files))
    limits = {question.upload.file: question.upload.limit_mib for question in book.questions if question.upload}
    tasks = [_task(thing, folder, limits, state) for thing in files]
    outcomes = iter(outcomes_of([task for task in tasks if task is not None]))
    pairs = zip(files, tasks, strict=True)
    return tuple(thing if task is None else _compared(thing, next(outcomes)) for thing, task in pairs)


def outcomes_of(tasks: Sequence[VerifyTask]) -> tuple[VerifyOutcome, ...]:
    """Verify files and wait for the outcome of each."""
    groups: dict[str, list[VerifyTask]] = {}
    for task in tasks:
        groups.setdefault(_model_file_of(task), []).append(task)
    outcomes = dict(pair for group in groups.values() for pair in zip(group, _run(group), strict=True))
    return tuple(outcomes[task] for task in tasks)


def _model_file_of(task: VerifyTask) -> str:
    """Return the hash of the model file that runs when a file is verified; empty where none does."""
    model = task.asked.configuration.network.model if task.asked is not None else None
    return model.sha256 if model is not None else ""


def _run(tasks: Sequence[VerifyTask]) -> Iterator[VerifyOutcome]:
    """Verify files in one process, or in another one after a file at which it ended."""
    while tasks:
        verify = child_process.tool("engine.tools.verify")
        done = tool_process.run(verify, msgspec.json.encode(tasks), leads_group=True)
        outcomes = _outcomes_in(done.stdout)
        if len(outcomes) < len(tasks):
            outcomes.append(VerifyOutcome(problem=f"It could not be verified: the process {done.how_ended}."))
        yield from outcomes
        tasks = tasks[len(outcomes) :]


def _outcomes_in(answer: bytes) -> list[VerifyOutcome]:
    """Parse the outcomes of complete lines, up to the first invalid one."""
    outcomes = list[VerifyOutcome]()
    for line in answer.split(b"\n")[:-1]:
        try:
            outcomes.append(msgspec.json.decode(line, type=VerifyOutcome))
        except msgspec.DecodeError:
            break
    return outcomes


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
