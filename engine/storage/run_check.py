"""Checks the files of a run: what is wrong, and what to do about it. Nothing is changed."""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from engine.core import limits
from engine.core.checks import result_problem
from engine.core.spec import RunSpec
from engine.machine.files import MAX_SMALL_BYTES, Folder, NotOurs
from engine.machine.json_file import decoded
from engine.protocol import UNREADABLE, RunResult
from engine.storage import checkpoint_index, journal
from engine.storage.file_hashes import sha256_of

Decoded = TypeVar("Decoded")

SPEC, JOURNAL, MODEL, RESULT = "spec.json", "journal.jsonl", "model.keras", "result.json"
SOURCE = "model.py"
"""The model file of a run of an own model."""
RIGHTS = "Give yourself the right to read it."


class Problem(NamedTuple):
    """Something that is wrong with a run's folder, and what to do about it."""

    text: str
    advice: str
    moved: tuple[str, ...] = ()
    """Names in the run's folder that a repair moves aside; an empty name is the folder itself."""
    is_damage: bool = True


def read_or_problem(
    folder: Folder,
    name: str,
    kind: type[Decoded],
    advice: str,
    moved: tuple[str, ...],
    most: int = MAX_SMALL_BYTES,
) -> Decoded | Problem:
    """Return the decoded content of a file, or why it cannot be read and what to do."""
    try:
        return decoded(folder, name, kind, most)
    except UNREADABLE as error:
        return Problem(f"{name} cannot be understood: {str(error)[:200]}", advice, moved)
    except OSError as error:
        return _unreadable(name, error, advice, moved)


def _unreadable(name: str, error: OSError, advice: str, moved: tuple[str, ...]) -> Problem:
    """Return the problem of a file that cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        return Problem(f"{name} is not there", advice, moved)
    if isinstance(error, NotOurs):
        return Problem(f"{name} is not a file: {error.strerror}", advice, moved)
    return Problem(f"{name} cannot be read: {error.strerror}", RIGHTS)


def run_problems(folder: Folder, run_id: str) -> Iterator[Problem]:
    """Report what is wrong with a run's specification, model file and outcome."""
    spec = read_or_problem(folder, SPEC, RunSpec, "The folder is put aside.", moved=("",))
    problem = spec if isinstance(spec, Problem) else _spec_problem(spec, run_id)
    if problem:
        yield problem
    if isinstance(spec, RunSpec) and folder.kind(SOURCE) != "nothing":
        yield from _source_problems(folder, spec)
    if folder.kind(RESULT) != "nothing":
        yield from _outcome_problems(folder, spec if isinstance(spec, RunSpec) else None)


def _spec_problem(spec: RunSpec, run_id: str) -> Problem | None:
    if spec.run_id != run_id:
        return Problem(f"{SPEC} is another run's, {spec.run_id}", "The folder is put aside.", ("",))
    if spec.recording is not None or spec.configuration.recorded is not None:
        problem = limits.recording_problem(spec)
    else:
        problem = limits.configuration_problem(spec.configuration) or limits.seeds_problem((spec.seed,))
    return (
        Problem(f"{SPEC} cannot have been trained: {problem}", "The folder is put aside.", ("",)) if problem else None
    )


def _source_problems(folder: Folder, spec: RunSpec) -> Iterator[Problem]:
    own = spec.configuration.network.model
    try:
        if own is None or sha256_of(folder, SOURCE) != own.sha256:
            yield Problem(f"{SOURCE} is not the file that builds its model", "It is put aside.", (SOURCE,))
    except OSError as error:
        yield _unreadable(SOURCE, error, "It is put aside.", (SOURCE,))


def _outcome_problems(folder: Folder, spec: RunSpec | None) -> Iterator[Problem]:
    result = read_or_problem(folder, RESULT, RunResult, "The run is trained again.", (RESULT,))
    if isinstance(result, Problem):
        yield result
        return
    both, again = (RESULT, MODEL), "Both files are put aside, the run is trained again."
    if spec is not None and (result.spec != spec or result.run_id != spec.run_id):
        yield Problem(f"{RESULT} is another run's", "The run is trained again.", (RESULT,))
    elif problem := result_problem(result):
        yield Problem(f"{RESULT} cannot be: {problem}", "The run is trained again.", (RESULT,))
    if result.is_recorded:
        return  # it has no file
    try:
        if sha256_of(folder, MODEL) != result.model_sha256:
            yield Problem(f"{MODEL} is not what was trained", again, both)
    except OSError as error:
        yield _unreadable(MODEL, error, again, both)


def checkpoint_problems(run: Folder) -> Iterator[Problem]:
    """Report what is wrong with a run's checkpoints."""
    if run.kind(checkpoint_index.FOLDER) not in ("folder", "nothing"):
        yield Problem(f"{checkpoint_index.FOLDER} is not a folder", "It is put aside.", (checkpoint_index.FOLDER,))
    for newest in checkpoint_index.read(run.path).entries[:1]:
        text = f"{checkpoint_index.FOLDER}/{newest.file}, its newest checkpoint, is damaged"
        damaged = Problem(text, "It continues from the one before.", is_damage=False)
        try:
            with run.folder(checkpoint_index.FOLDER) as folder:
                if sha256_of(folder, newest.file) != newest.sha256:
                    yield damaged
        except OSError:
            yield damaged


def journal_problems(folder: Folder) -> Iterator[Problem]:
    """Report what is wrong with a run's journal."""
    try:
        torn = journal.damaged_lines(folder.path / JOURNAL)
    except OSError as error:
        yield _unreadable(JOURNAL, error, "A new one is begun.", (JOURNAL,))
    else:
        if torn:
            count = f"{torn} torn line{'s' if torn > 1 else ''}"
            yield Problem(f"{JOURNAL} has {count}", "The curve has gaps; nothing else has.", is_damage=False)
