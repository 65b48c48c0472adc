"""Looks a workspace over without changing it, and puts damaged pieces aside on request.

Every piece can be made anew from the others or is trained again, so a repair only moves files: into
`set-aside/TIME/`, where they keep their names. The host, which owns the workspace, must not run meanwhile.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from engine import journal, pack, pointer
from engine.files import make_folder
from engine.limits import sweep_problem
from engine.plan import Sweep
from engine.protocol import UNREADABLE, RunResult
from engine.spec import RunSpec
from engine.workspace import RUN_ID, Remembered

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
    yield _space(root)
    yield _lock(root)
    yield _file(root, "host.json", Remembered)
    yield _file(root, "runs.json", Tables)
    for path in sorted((root / "sweeps").glob("*.json")):
        finding = _sweep(root, f"sweeps/{path.name}")
        if finding.level != "fine":
            yield finding
    yield from _data(root)
    yield from _runs(root)
    yield from _left_over(root)


def repair(root: Path, findings: list[Finding]) -> Path | None:
    """Move what is damaged or left over into `set-aside/TIME/`; return that folder, or None where there is nothing.

    Raises:
        OSError: something cannot be moved; what was moved before lies in the folder.
        BlockingIOError: a host runs in the workspace.
    """
    paths = [path for finding in findings for path in finding.moved]
    if not paths:
        return None
    with locked(root):
        folder = make_folder(root / "set-aside" / time.strftime("%Y-%m-%d-%H%M%S"))
        for path in dict.fromkeys(paths):
            if (root / path).exists():
                make_folder((folder / path).parent)
                shutil.move(root / path, folder / path)
    return folder


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the workspace as a host does.

    Raises:
        BlockingIOError: a host holds it.
    """
    lock = os.open(root / "host.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _place(root: Path) -> Finding:
    if not os.access(root, os.W_OK | os.X_OK):
        return Finding("damaged", f"{root} cannot be written", "Give yourself the right to write there.")
    return Finding("fine", f"{root} can be written")


def _space(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    told = f"{free / 2**30:,.1f} GiB free on its disk"
    if free < LOW_BYTES:
        return Finding("note", told, "Make room: training goes on without it, but checkpoints wait.")
    return Finding("fine", told)


def _lock(root: Path) -> Finding:
    try:
        with locked(root):
            return Finding("fine", "no host runs here")
    except BlockingIOError:
        return Finding("note", "a host runs here", "`svhn-tui stop` ends it; --repair needs that.")
    except OSError as error:
        return Finding("note", f"host.lock cannot be held ({error.strerror})")


def _file(root: Path, name: str, kind: object) -> Finding:
    path = root / name
    if not path.exists():
        return Finding("fine", f"{name} is not there yet")
    try:
        msgspec.json.decode(path.read_bytes(), type=kind)
    except UNREADABLE as error:
        again = (
            "It is made anew." if name != "runs.json" else "It is made anew from the runs; notes and tags were in it."
        )
        return Finding("damaged", f"{name} cannot be read: {str(error)[:200]}", again, (name,))
    return Finding("fine", f"{name} is whole")


def _sweep(root: Path, name: str) -> Finding:
    found = _file(root, name, Sweep)
    if found.level != "fine":
        return found
    problem = sweep_problem(msgspec.json.decode((root / name).read_bytes(), type=Sweep))
    return (
        Finding("damaged", f"{name} cannot be trained: {problem}", "Ask for it again.", (name,)) if problem else found
    )


def _data(root: Path) -> Iterator[Finding]:
    with contextlib.suppress(OSError, *UNREADABLE):
        kept = msgspec.json.decode((root / "host.json").read_bytes(), type=Remembered)
        known = kept.known.get(kept.data)
        if known is None:
            return
        for path, stamp in zip((known.data.train_path, known.data.test_path), known.stamps, strict=False):
            file = Path(path)
            if not file.is_file():
                yield Finding(
                    "note", f"{path}, of the data in use, is gone", "Open the data again: svhn-tui --data DIR."
                )
            elif (file.stat().st_size, file.stat().st_mtime_ns) != stamp:
                yield Finding("note", f"{path}, of the data in use, changed", "It is read anew at the next start.")


def _runs(root: Path) -> Iterator[Finding]:
    finished = unfinished = 0
    for folder in sorted((root / "runs").glob("*")):
        name = f"runs/{folder.name}"
        if not RUN_ID.fullmatch(folder.name) or not (folder / "spec.json").exists():
            yield Finding(
                "damaged", f"{name} is no run: it has no spec.json or another name", "It is put aside.", (name,)
            )
            continue
        problems = [_spec(root, folder), *_result(root, folder)]
        yield from (found for found in problems if found.level != "fine")
        torn = journal.read(folder / "journal.jsonl").damaged_lines
        if torn:
            yield Finding(
                "note", f"{name}/journal.jsonl has {torn} torn lines", "The curve has gaps; nothing else has."
            )
        is_finished = (folder / "result.json").exists()
        finished, unfinished = finished + is_finished, unfinished + (not is_finished)
        if not is_finished and (found := _checkpoint(folder, name)) is not None:
            yield found
    yield Finding("fine", f"{finished} finished and {unfinished} unfinished runs")


def _spec(root: Path, folder: Path) -> Finding:
    name = f"runs/{folder.name}/spec.json"
    found = _file(root, name, RunSpec)
    if found.level == "fine" and msgspec.json.decode((root / name).read_bytes(), type=RunSpec).run_id != folder.name:
        return Finding("damaged", f"{name} is another run's", "The folder is put aside.", (f"runs/{folder.name}",))
    if found.level == "fine":
        return found
    return msgspec.structs.replace(found, advice="The folder is put aside.", moved=(f"runs/{folder.name}",))


def _result(root: Path, folder: Path) -> Iterator[Finding]:
    name = f"runs/{folder.name}"
    if not (folder / "result.json").exists():
        return
    found = _file(root, f"{name}/result.json", RunResult)
    if found.level != "fine":
        yield msgspec.structs.replace(found, advice="The run is trained again.")
        return
    result = msgspec.json.decode((folder / "result.json").read_bytes(), type=RunResult)
    both, again = (f"{name}/result.json", f"{name}/model.keras"), "Both files are put aside, the run is trained again."
    try:
        with (folder / "model.keras").open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != result.model_sha256:
                yield Finding("damaged", f"{name}/model.keras is not what was trained", again, both)
    except FileNotFoundError:
        yield Finding("damaged", f"{name}/model.keras is gone", again, both)


def _checkpoint(folder: Path, name: str) -> Finding | None:
    for entry in pointer.read(folder).entries[:1]:
        path = folder / pointer.FOLDER / Path(entry.file).name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry.sha256:
            return Finding("note", f"{name}: its newest checkpoint is damaged", "It goes on from the one before.")
    return None


def _left_over(root: Path) -> Iterator[Finding]:
    """Find what crashes leave: half-written files, damaged ones set aside before, an import that was broken off."""
    half = [path for path in root.rglob(".*.tmp") if "set-aside" not in path.parts]
    if half:
        names = tuple(str(path.relative_to(root)) for path in half)
        yield Finding("damaged", f"{len(half)} half-written files, such as {names[0]}", "They are put aside.", names)
    aside = [path for path in root.rglob("*.damaged-*") if "set-aside" not in path.parts]
    if aside:
        names = tuple(str(path.relative_to(root)) for path in aside)
        yield Finding("note", f"{len(aside)} files were set aside as damaged, such as {names[0]}", "", names)
    if (root / pack.STAGING).exists():
        yield Finding(
            "damaged", "an import was broken off", "Import the file again; what is half is put aside.", (pack.STAGING,)
        )
