"""Examines a workspace without changing it, and moves damaged files aside on request.

Every piece can be made again from the others or is trained again, so a repair only moves files: into
`set-aside/TIME/`, where they keep their names. The host, which owns the workspace, must not run meanwhile. No link is
followed: one that has the name of one of our files is moved itself.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from engine.core import sweep as plan
from engine.core.finding import Finding
from engine.core.limits import sweep_problem
from engine.core.sweep import Sweep
from engine.machine import ownership
from engine.machine.files import DAMAGED, Folder, NotOurs, is_temporary, shown
from engine.machine.json_file import decoded
from engine.protocol import UNREADABLE
from engine.storage import checkpoint_index, lock_file
from engine.storage.migrations import BACKUPS, FORMAT, INDEX_FORMAT, MAX_INDEX_BYTES, SWEEPS
from engine.storage.run_check import Problem, read_or_problem
from engine.storage.run_folder import RUN_ID, STAGING, RunFolder
from engine.storage.sources import MODELS
from engine.storage.trash import RUNS, TRASH
from engine.storage.workspace import SWEEP_FILE, HostState, stamps_of

LOW_BYTES = 2 * 2**30
"""Free space below which a note is given; a sweep's files and checkpoints take some hundred MB."""
ASIDE = "set-aside"

Tables = dict[str, dict[int, dict[str, object]]]
"""TinyDB's file: documents by number, by table."""


def examine(root: Path) -> Iterator[Finding]:
    """Examine everything in a workspace, one finding after the other.

    Raises:
        OSError: the folder cannot be read.
    """
    yield _writable(root)
    yield from _owner(root)
    yield _space(root)
    lock = _lock(root)
    yield lock
    with Folder.at(root) as folder:
        again = "It is made again."
        yield _small(folder, "host.json", HostState, again)
        yield _small(folder, "runs.json", Tables, f"{again[:-1]} from the runs; notes and tags were in it.")
        yield from _newer(folder)
        yield from _data(folder)
        yield from _folders(folder)
        yield from _sweeps(folder)
        yield from _runs(folder)
        yield from _left_over(folder, is_busy=lock.level != "fine")


def repair(root: Path, findings: list[Finding]) -> Path | None:
    """Move what is damaged or left over into `set-aside/TIME/`; return that folder, or None where there is nothing.

    Raises:
        OSError: something cannot be moved; what was moved before is in the folder.
        BlockingIOError: a host runs in the workspace.
        NotOurs: it is not the user's alone.
    """
    paths = [path for finding in findings for path in finding.moved]
    if not paths:
        return None
    if ownership.problem(root):
        raise NotOurs(f"Nothing is put aside in {root}: it is not yours alone.")
    now = time.strftime("%Y-%m-%d-%H%M%S")
    with lock_file.held(root):
        with Folder.at(root) as folder:
            if folder.kind(ASIDE) not in ("folder", "nothing"):
                folder.set_aside(ASIDE)
        for path in dict.fromkeys(path for path in paths if path != ASIDE):
            *above, name = path.split("/")
            with contextlib.suppress(FileNotFoundError), Folder.at(root, *above) as folder:
                if folder.kind(name) != "nothing":
                    with Folder.at(root, ASIDE, now, *above, make=True) as aside:
                        folder.move(name, aside, name)
    return root / ASIDE / now


def _writable(root: Path) -> Finding:
    if not os.access(root, os.W_OK | os.X_OK):
        return Finding("damaged", f"{root} cannot be written", "Give yourself the right to write there.")
    return Finding("fine", f"{root} can be written")


def _owner(root: Path) -> Iterator[Finding]:
    if problem := ownership.problem(root):
        yield Finding("damaged", problem)
    if exposed := ownership.exposure(root):
        yield Finding("note", exposed, "Keep the workspace where only you can write, such as your home folder.")


def _space(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    text = f"{free / 2**30:,.1f} GiB free on its disk"
    if free < LOW_BYTES:
        return Finding("note", text, "Make room: training continues without it, but checkpoints wait.")
    return Finding("fine", text)


def _lock(root: Path) -> Finding:
    if not (root / lock_file.NAME).exists():
        return Finding("fine", "no host ran here yet")
    try:
        with lock_file.held(root):
            return Finding("fine", "no host runs here")
    except BlockingIOError:
        holder = lock_file.read(root)
        who = f" (process {holder.pid} on {holder.hostname})" if holder.pid else ""
        return Finding("note", f"a host runs here{who}", "`svhn-tui stop` ends it; --repair needs that.")
    except OSError as error:
        return Finding("note", f"host.lock cannot be held: {error.strerror}")


def _finding(problem: Problem, where: str = "") -> Finding:
    """Say what is wrong with something in a folder of the workspace."""
    level: Literal["note", "damaged"] = "damaged" if problem.is_damage else "note"
    moved = tuple(f"{where}{name}".rstrip("/") for name in problem.moved)
    return Finding(level, f"{where}{problem.text}".rstrip("."), problem.advice, moved)


def _small(folder: Folder, name: str, kind: type[object], advice: str) -> Finding:
    if folder.kind(name) == "nothing":
        return Finding("fine", f"{name} is not there yet")
    content = read_or_problem(folder, name, kind, advice, (name,), MAX_INDEX_BYTES)
    return _finding(content) if isinstance(content, Problem) else Finding("fine", f"{name} is whole")


def _newer(folder: Folder) -> Iterator[Finding]:
    """Find files of a later version: they are not damaged, and are not moved."""
    advice = "Update svhn-tui, or use another --workspace."
    with contextlib.suppress(OSError, *UNREADABLE):
        if decoded(folder, "host.json", HostState).format > FORMAT:
            yield Finding("damaged", "host.json was written by a newer svhn-tui", advice)
    with contextlib.suppress(OSError, *UNREADABLE):
        about = decoded(folder, "runs.json", Tables, MAX_INDEX_BYTES).get("about", {})
        if any(msgspec.convert(document.get("version", 0), int) > INDEX_FORMAT for document in about.values()):
            yield Finding("damaged", "runs.json was written by a newer svhn-tui", advice)


def _data(folder: Folder) -> Iterator[Finding]:
    with contextlib.suppress(OSError, *UNREADABLE):
        state = decoded(folder, "host.json", HostState)
        known = state.known.get(state.data)
        if known is None:
            return
        paths = known.data.paths
        missing = [path for path in paths if not Path(path).exists()]
        for path in missing:
            yield Finding("note", f"{path}, of the data in use, is gone", "Open the data again: svhn-tui --data DIR.")
        if not missing and stamps_of(paths) != known.stamps:
            files = " or ".join(paths)
            yield Finding("note", f"{files}, of the data in use, changed", "It is read again at the next start.")


def _folders(folder: Folder) -> Iterator[Finding]:
    """Report anything that has the name of one of our folders and is something else."""
    for name in (RUNS, SWEEPS, MODELS, TRASH, "exports", BACKUPS, ASIDE):
        if folder.kind(name) not in ("folder", "nothing"):
            yield Finding("damaged", f"{name} is a link or a file, not a folder", "It is put aside.", (name,))


def _sweeps(folder: Folder) -> Iterator[Finding]:
    for name, kind in _kinds(folder, SWEEPS).items():
        path = f"{SWEEPS}/{name}"
        if is_temporary(name) or DAMAGED in name:
            continue
        if not SWEEP_FILE.fullmatch(name) and kind == "file":
            yield Finding("note", f"{_shown(path)} was not written by svhn-tui and is ignored", "", (path,))
            continue
        with folder.folder(SWEEPS) as sweeps:
            sweep = read_or_problem(sweeps, name, Sweep, "Ask for it again.", (name,))
        if isinstance(sweep, Problem):
            yield _finding(sweep, f"{SWEEPS}/")
        elif problem := sweep_problem(sweep):
            yield Finding("damaged", f"{path} cannot be trained: {problem}", "Ask for it again.", (path,))


def _runs(folder: Folder) -> Iterator[Finding]:
    accuracies: dict[str, float] = {}
    unfinished: set[str] = set()
    for name in _kinds(folder, RUNS):
        where = f"{RUNS}/{name}"
        if not RUN_ID.fullmatch(name):
            yield Finding("damaged", f"{_shown(where)} is not a run: it has another name", "It is put aside.", (where,))
            continue
        run = RunFolder(folder.path, name)
        yield from (_finding(problem, f"{where}/") for problem in run.problems())
        result = run.result()
        if result is not None:
            accuracies[name] = result.accuracy_or_nan
        else:
            unfinished.add(name)
    yield Finding("fine", f"{len(accuracies)} finished and {len(unfinished)} unfinished runs")
    yield from _unasked(folder, unfinished, accuracies)


def _unasked(folder: Folder, unfinished: set[str], accuracies: dict[str, float]) -> Iterator[Finding]:
    """Find unfinished runs that no sweep asks for any more: they are never resumed."""
    for name in _kinds(folder, SWEEPS) if unfinished else ():
        with contextlib.suppress(OSError, *UNREADABLE), folder.folder(SWEEPS) as sweeps:
            sweep = decoded(sweeps, name, Sweep)
            unfinished -= {spec.run_id for spec in plan.asked(sweep, accuracies)}
    if unfinished:
        advice = "Ask for them again, or delete their folders."
        yield Finding("note", f"unfinished runs that nothing asks for: {_some(tuple(sorted(unfinished)))}", advice)


def _left_over(folder: Folder, *, is_busy: bool) -> Iterator[Finding]:
    """Find what crashes leave: half-written files, damaged ones set aside before, an interrupted import.

    While a host works there, files are half written because they are being written.
    """
    names = list(_written(folder))
    half = tuple(name for name in names if is_temporary(name.rpartition("/")[2]))
    if half and not is_busy:
        yield Finding("damaged", f"half-written files: {_some(half)}", "They are put aside.", half)
    if aside := tuple(name for name in names if DAMAGED in name.rpartition("/")[2]):
        yield Finding("note", f"set aside as damaged before: {_some(aside)}", "", aside)
    if folder.kind(STAGING) != "nothing" and not is_busy:
        yield Finding(
            "damaged", "an import was broken off", "Import the file again; what is half is put aside.", (STAGING,)
        )


def _written(folder: Folder) -> Iterator[str]:
    """Yield the paths of everything in those folders that the program writes to."""
    yield from folder.kinds()
    for parent in (SWEEPS, MODELS, RUNS):
        for name, kind in _kinds(folder, parent).items():
            yield f"{parent}/{name}"
            if parent == RUNS and kind == "folder" and RUN_ID.fullmatch(name):
                yield from (f"{parent}/{name}/{below}" for below in _kinds(folder, parent, name))
                checkpoint = _kinds(folder, parent, name, checkpoint_index.FOLDER)
                yield from (f"{parent}/{name}/{checkpoint_index.FOLDER}/{below}" for below in checkpoint)


def _kinds(folder: Folder, *names: str) -> dict[str, object]:
    """Return what is in a folder of the workspace; nothing where there is none that can be read."""
    with contextlib.suppress(OSError), Folder.at(folder.path, *names) as below:
        return dict(below.kinds())
    return {}


def _shown(path: str) -> str:
    return shown(Path(path))


def _some(names: tuple[str, ...]) -> str:
    """Shorten a list of names: `a`, `a and 3 more`."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
