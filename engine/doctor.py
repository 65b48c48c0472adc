"""Looks a workspace over without changing it, and puts damaged pieces aside on request.

Every piece can be made anew from the others or is trained again, so a repair only moves files: into
`set-aside/TIME/`, where they keep their names. The host, which owns the workspace, must not run meanwhile.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from engine import journal, lock_file, ownership, pack, plan, pointer
from engine.files import make_folder
from engine.formats import FORMAT, INDEX_FORMAT
from engine.limits import sweep_problem
from engine.plan import Sweep
from engine.protocol import UNREADABLE, RunResult
from engine.spec import RunSpec
from engine.workspace import RUN_ID, Remembered, stamps_of

Kind = TypeVar("Kind")

LOW_BYTES = 2 * 2**30
"""Less free space than this is told; a sweep's files and checkpoints take some hundred MB."""

Tables = dict[str, dict[int, dict[str, object]]]
"""TinyDB's file: documents by number, by table."""


class Finding(msgspec.Struct, frozen=True):
    """Something that was looked at: how it is, what to do about it, and what a repair moves away."""

    level: Literal["fine", "note", "damaged"]
    text: str
    advice: str = ""
    moved: tuple[str, ...] = ()
    """Paths inside the workspace."""


def examine(root: Path) -> Iterator[Finding]:
    """Look at everything in a workspace, one finding after the other.

    Raises:
        OSError: the folder cannot be read.
    """
    yield _place(root)
    yield from _owner(root)
    yield _space(root)
    lock = _lock(root)
    yield lock
    yield _file(root, "host.json", Remembered)
    yield _file(root, "runs.json", Tables)
    yield from _newer(root)
    for path in sorted((root / "sweeps").glob("*.json")):
        finding = _sweep(root, f"sweeps/{path.name}")
        if finding.level != "fine":
            yield finding
    yield from _data(root)
    yield from _runs(root)
    yield from _left_over(root, is_busy=lock.level != "fine")


def repair(root: Path, findings: list[Finding]) -> Path | None:
    """Move what is damaged or left over into `set-aside/TIME/`; return that folder, or None where there is nothing.

    Raises:
        OSError: something cannot be moved; what was moved before lies in the folder.
        BlockingIOError: a host runs in the workspace.
        PermissionError: it is not the user's alone.
    """
    paths = [path for finding in findings for path in finding.moved]
    if not paths:
        return None
    if ownership.problem(root):
        raise PermissionError(errno.EPERM, "it is not yours alone", str(root))
    with lock_file.held(root):
        folder = make_folder(root / "set-aside" / time.strftime("%Y-%m-%d-%H%M%S"))
        for path in dict.fromkeys(paths):
            if os.path.lexists(root / path):
                make_folder((folder / path).parent)
                shutil.move(root / path, folder / path)
    return folder


def _place(root: Path) -> Finding:
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
    told = f"{free / 2**30:,.1f} GiB free on its disk"
    if free < LOW_BYTES:
        return Finding("note", told, "Make room: training goes on without it, but checkpoints wait.")
    return Finding("fine", told)


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
        return Finding("note", f"host.lock cannot be held ({error.strerror})")


def _file(root: Path, name: str, kind: type[object]) -> Finding:
    path = root / name
    again = "It is made anew." if name != "runs.json" else "It is made anew from the runs; notes and tags were in it."
    if not os.path.lexists(path):
        return Finding("fine", f"{name} is not there yet")
    if not path.is_file():
        return Finding("damaged", f"{name} is no file", again, (name,))
    try:
        _decoded(path, kind)
    except UNREADABLE as error:
        return Finding("damaged", f"{name} cannot be understood: {str(error)[:200]}", again, (name,))
    except OSError as error:
        return Finding("damaged", f"{name} cannot be read: {error.strerror}", "Give yourself the right to read it.")
    return Finding("fine", f"{name} is whole")


def _newer(root: Path) -> Iterator[Finding]:
    """Find what a later version wrote: that is no damage, and nothing of it is moved."""
    advice = "Update svhn-tui, or use another --workspace."
    with contextlib.suppress(OSError, *UNREADABLE):
        if _decoded(root / "host.json", Remembered).format > FORMAT:
            yield Finding("damaged", "host.json was written by a newer svhn-tui", advice)
    with contextlib.suppress(OSError, *UNREADABLE):
        about = _decoded(root / "runs.json", Tables).get("about", {})
        if any(msgspec.convert(document.get("version", 0), int) > INDEX_FORMAT for document in about.values()):
            yield Finding("damaged", "runs.json was written by a newer svhn-tui", advice)


def _decoded(path: Path, kind: type[Kind]) -> Kind:
    """Read a file, and not what only looks like one: a pipe would be waited for.

    Raises:
        OSError: it cannot be read.
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: it cannot be understood.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    return msgspec.json.decode(path.read_bytes(), type=kind)


def _sweep(root: Path, name: str) -> Finding:
    found = _file(root, name, Sweep)
    if found.level != "fine":
        return msgspec.structs.replace(found, advice="Ask for it again.") if found.moved else found
    problem = sweep_problem(_decoded(root / name, Sweep))
    return (
        Finding("damaged", f"{name} cannot be trained: {problem}", "Ask for it again.", (name,)) if problem else found
    )


def _data(root: Path) -> Iterator[Finding]:
    with contextlib.suppress(OSError, *UNREADABLE):
        kept = _decoded(root / "host.json", Remembered)
        known = kept.known.get(kept.data)
        if known is None:
            return
        paths = (known.data.train_path, known.data.test_path)
        gone = [path for path in paths if not Path(path).exists()]
        for path in gone:
            yield Finding("note", f"{path}, of the data in use, is gone", "Open the data again: svhn-tui --data DIR.")
        if not gone and stamps_of(paths) != known.stamps:
            files = " or ".join(paths)
            yield Finding("note", f"{files}, of the data in use, changed", "It is read anew at the next start.")


def _runs(root: Path) -> Iterator[Finding]:
    accuracies: dict[str, float] = {}
    unfinished: set[str] = set()
    for folder in sorted((root / "runs").glob("*")):
        name = f"runs/{folder.name}"
        if not RUN_ID.fullmatch(folder.name) or not (folder / "spec.json").exists():
            yield Finding(
                "damaged", f"{name} is no run: it has no spec.json or another name", "It is put aside.", (name,)
            )
            continue
        problems = [_spec(root, folder), *_result(root, folder)]
        yield from (found for found in problems if found.level != "fine")
        yield from _journal(folder, name)
        with contextlib.suppress(OSError, *UNREADABLE):
            result = _decoded(folder / "result.json", RunResult)
            accuracies[folder.name] = result.test_accuracy
        if folder.name not in accuracies:
            unfinished.add(folder.name)
            yield from _checkpoint(folder, name)
    yield Finding("fine", f"{len(accuracies)} finished and {len(unfinished)} unfinished runs")
    yield from _unasked(root, unfinished, accuracies)


def _unasked(root: Path, unfinished: set[str], accuracies: dict[str, float]) -> Iterator[Finding]:
    """Find runs that were begun and that no sweep asks for any more: they are never gone on with."""
    for path in (root / "sweeps").glob("*.json") if unfinished else ():
        with contextlib.suppress(OSError, *UNREADABLE):
            sweep = _decoded(path, Sweep)
            unfinished -= {spec.run_id for spec in plan.asked(sweep, accuracies)}
    if unfinished:
        advice = "Ask for them again, or delete their folders."
        yield Finding("note", f"unfinished runs that nothing asks for: {_some(tuple(sorted(unfinished)))}", advice)


def _spec(root: Path, folder: Path) -> Finding:
    name = f"runs/{folder.name}/spec.json"
    found = _file(root, name, RunSpec)
    if found.level == "fine" and _decoded(root / name, RunSpec).run_id != folder.name:
        return Finding("damaged", f"{name} is another run's", "The folder is put aside.", (f"runs/{folder.name}",))
    if not found.moved:
        return found
    return msgspec.structs.replace(found, advice="The folder is put aside.", moved=(f"runs/{folder.name}",))


def _journal(folder: Path, name: str) -> Iterator[Finding]:
    path = folder / "journal.jsonl"
    if os.path.lexists(path) and not path.is_file():
        yield Finding("damaged", f"{name}/journal.jsonl is no file", "A new one is begun.", (f"{name}/journal.jsonl",))
        return
    try:
        torn = journal.read(path).damaged_lines
    except OSError as error:
        yield Finding(
            "damaged", f"{name}/journal.jsonl cannot be read: {error.strerror}", "Give yourself the right to read it."
        )
        return
    if torn:
        count = f"{torn} torn line{'s' if torn > 1 else ''}"
        yield Finding("note", f"{name}/journal.jsonl has {count}", "The curve has gaps; nothing else has.")


def _result(root: Path, folder: Path) -> Iterator[Finding]:
    name = f"runs/{folder.name}"
    if not os.path.lexists(folder / "result.json"):
        return
    found = _file(root, f"{name}/result.json", RunResult)
    if found.level != "fine":
        yield msgspec.structs.replace(found, advice="The run is trained again.") if found.moved else found
        return
    result = _decoded(folder / "result.json", RunResult)
    both, again = (f"{name}/result.json", f"{name}/model.keras"), "Both files are put aside, the run is trained again."
    try:
        with (folder / "model.keras").open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != result.model_sha256:
                yield Finding("damaged", f"{name}/model.keras is not what was trained", again, both)
    except OSError as error:
        gone = "is gone" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        yield Finding("damaged", f"{name}/model.keras {gone}", again, both)


def _checkpoint(folder: Path, name: str) -> Iterator[Finding]:
    for entry in pointer.read(folder).entries[:1]:
        path = folder / pointer.FOLDER / Path(entry.file).name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry.sha256:
            yield Finding("note", f"{name}: its newest checkpoint is damaged", "It goes on from the one before.")


def _left_over(root: Path, *, is_busy: bool) -> Iterator[Finding]:
    """Find what crashes leave: half-written files, damaged ones set aside before, an import that was broken off.

    While a host works there, files are half written because they are being written.
    """
    half = [path for path in root.rglob(".*.tmp") if "set-aside" not in path.parts]
    if half and not is_busy:
        names = tuple(str(path.relative_to(root)) for path in half)
        yield Finding("damaged", f"half-written files: {_some(names)}", "They are put aside.", names)
    aside = [path for path in root.rglob("*.damaged-*") if "set-aside" not in path.parts]
    if aside:
        names = tuple(str(path.relative_to(root)) for path in aside)
        yield Finding("note", f"set aside as damaged before: {_some(names)}", "", names)
    if (root / pack.STAGING).exists() and not is_busy:
        yield Finding(
            "damaged", "an import was broken off", "Import the file again; what is half is put aside.", (pack.STAGING,)
        )


def _some(names: tuple[str, ...]) -> str:
    """`a`, `a and 3 more`."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
