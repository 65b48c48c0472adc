"""Packs a workspace's runs into one zip file, and imports them on another machine.

The file holds `manifest.json` (each member's size and SHA-256, notes and choices) and, as in the workspace, `runs/`,
`sweeps/` and `models/`; no data. A packed file comes from outside: nothing in it is used before it was checked, no
model file in it is executed, and a run enters the workspace complete, by one renaming.
"""

import contextlib
import errno
import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Literal

import msgspec

from engine.core import limits
from engine.core.sweep import Sweep
from engine.machine.files import Folder, remove_abandoned
from engine.storage import sources, zip_check
from engine.storage.manifest import (
    MANIFEST,
    MAX_DIRECTORY_BYTES,
    MAX_MEMBERS,
    Manifest,
    Member,
    PackError,
    Remarks,
    checked,
    decoded,
    text_of,
)
from engine.storage.migrations import SWEEPS
from engine.storage.run_folder import RUN_ID, STAGING, RunFolder
from engine.storage.trash import RUNS
from engine.storage.workspace import SWEEP_FILE
from engine.storage.zip_check import Archive, ArchiveError, OpenFolder, open_zip

CHUNK = 2**20


class Unpacked(msgspec.Struct, frozen=True):
    """The outcome of an import: run_ids, sweeps and remarks."""

    finished: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    remarks: Remarks = Remarks()


class Packed(msgspec.Struct, frozen=True):
    """The outcome of packing: how many runs, and why others were left out, a sentence for each."""

    runs: int
    left_out: tuple[str, ...] = ()


def pack(root: Path, target: Path, remarks: Remarks) -> Packed:
    """Write the workspace's runs to a zip file. The workspace may be in use.

    A run that no import would accept is left out.

    Raises:
        OSError: the file cannot be written, or something else has its name; an existing file is intact.
    """
    with Folder.at(target.parent) as folder:
        if folder.kind(target.name) != "nothing" and not _is_pack(folder, target.name):
            raise FileExistsError(errno.EEXIST, "it is there and no packed file; give another name", str(target))
        remove_abandoned(folder, target.name)
        writing: list[Packed] = []
        folder.write_atomically_with(target.name, lambda file: writing.append(_write(root, file, remarks)))
    return writing[0]


def _is_pack(folder: Folder, name: str) -> bool:
    """Say whether a file is a packed one, and may be replaced by another."""
    try:
        with folder.open_to_read(name) as file, zipfile.ZipFile(file) as archive:
            return MANIFEST in archive.namelist()
    except zip_check.UNREADABLE:
        return False


def _write(root: Path, file: BinaryIO, remarks: Remarks) -> Packed:
    members: dict[str, Member] = {}
    left_out: list[str] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with Folder.at(root, SWEEPS) as sweeps:
            for name, kind in sweeps.kinds().items():
                if kind == "file" and SWEEP_FILE.fullmatch(name):
                    with sweeps.open_to_read(name) as sweep:
                        _add(archive, f"{SWEEPS}/{name}", sweep, members)
        for sha256, text in sources.all_of(root).items():
            _add(archive, f"{sources.MODELS}/{sha256}.py", io.BytesIO(text.encode()), members)
        with Folder.at(root, RUNS) as runs:
            run_ids = [name for name, kind in runs.kinds().items() if kind == "folder" and RUN_ID.fullmatch(name)]
        for run_id in run_ids:
            run = RunFolder(root, run_id)
            if defect := run.defect():
                left_out.append(f"{RUNS}/{run_id}: {defect}.")
                continue
            for name, source in run.contents():
                _add(archive, f"{RUNS}/{run_id}/{name}", source, members)
        if len(members) > MAX_MEMBERS:
            raise OSError(errno.EOVERFLOW, f"it would hold more than {MAX_MEMBERS:,} files; delete runs first")
        archive.writestr(MANIFEST, msgspec.json.encode(Manifest(members, remarks)))
    return Packed(len(run_ids) - len(left_out), tuple(left_out))


def unpack(root: Path, path: Path, *, busy: frozenset[str]) -> Unpacked:
    """Import what is new: runs that are finished here, or in training (`busy`), are not changed.

    An unfinished run is imported where its checkpoint is of a later epoch than the one here. After an interruption, the
    same import completes what is missing. The returned runs are on the disk.

    Raises:
        PackError: the file is damaged or no such file, or the workspace cannot be written. Runs that were imported
            before that are complete in `runs/`.
    """
    unpacked = Unpacked()
    try:
        with _opened(path) as archive:
            manifest = checked(archive, path)
            runs = _by_run(manifest)
            sweeps = tuple(_sweep(archive, name, manifest, path) for name in manifest.members if name[:7] == "sweeps/")
            for name, member in manifest.members.items():
                if name.startswith(f"{sources.MODELS}/"):
                    sources.store(root, _source(archive, path, name, member))
            _clear_staging(root)
            for run_id, names in runs.items():
                outcome = _unpack_run(archive, manifest, path, RunFolder(root, run_id), names, is_busy=run_id in busy)
                unpacked = msgspec.structs.replace(unpacked, **{outcome: (*getattr(unpacked, outcome), run_id)})
    except FileNotFoundError as error:
        raise PackError(f"{error.filename} is not there.") from error
    except ArchiveError as error:
        raise PackError(f"{path} {error}; give the file that `svhn-tui pack` wrote.") from error
    except zipfile.BadZipFile as error:
        raise PackError(f"{path} is damaged ({error}); copy it again.") from error
    except OSError as error:
        raise PackError(f"{error.filename or path}: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            _clear_staging(root)
    notes = tuple(note for note in manifest.remarks.notes if note.run_id in runs)
    remarks = msgspec.structs.replace(manifest.remarks, notes=notes)
    return msgspec.structs.replace(unpacked, sweeps=sweeps, remarks=remarks)


def _opened(path: Path) -> Archive:
    """Open a packed file, or the folder that it was unpacked into, itself or inside the one that is named.

    Raises:
        FileNotFoundError, ArchiveError: it is neither.
    """
    folders = [folder.parent for folder in (path / MANIFEST, *path.glob(f"*/{MANIFEST}")) if folder.is_file()]
    return OpenFolder(folders[0]) if folders else open_zip(path, "packed", most=MAX_DIRECTORY_BYTES)


def _unpack_run(
    archive: Archive, manifest: Manifest, path: Path, here: RunFolder, names: list[str], *, is_busy: bool
) -> Literal["finished", "unfinished", "known"]:
    """Assemble a run, check it, and move it into the workspace if it is new there.

    Raises:
        PackError: it is not the run that its name says, or damaged.
        OSError: the workspace cannot be written.
    """
    if is_busy or here.is_finished:
        return "known"
    staged = RunFolder(here.workspace, here.run_id, STAGING)
    for name in names:
        member = manifest.members[name]
        staged.put(name.split("/", 2)[2], partial(_extract, archive, path, name, member))
    if defect := staged.defect():
        raise PackError(f"{path}: run {here.run_id}: {defect}.")
    if not staged.is_finished and here.is_there and staged.epoch <= here.epoch:
        return "known"
    is_finished = staged.is_finished
    staged.publish()
    return "finished" if is_finished else "unfinished"


def _clear_staging(root: Path) -> None:
    """Delete what an interrupted import left; anything else in its folder is set aside."""
    with Folder.at(root) as folder:
        kind = folder.kind(STAGING)
        if kind == "folder":
            with folder.folder(STAGING) as staging:
                run_ids = [
                    name for name, kind in staging.kinds().items() if kind == "folder" and RUN_ID.fullmatch(name)
                ]
            for run_id in run_ids:
                RunFolder(root, run_id, STAGING).remove()
        if kind != "nothing" and not folder.remove_folder(STAGING):
            folder.set_aside(STAGING)


def _add(archive: zipfile.ZipFile, name: str, source: BinaryIO, members: dict[str, Member]) -> None:
    """Copy a file as it is at this moment."""
    digest, count = hashlib.sha256(), 0
    with archive.open(name, "w", force_zip64=True) as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            count += len(chunk)
            target.write(chunk)
    members[name] = Member(count, digest.hexdigest())


def _by_run(manifest: Manifest) -> dict[str, list[str]]:
    runs: dict[str, list[str]] = {}
    for name in manifest.members:
        if name.startswith("runs/"):
            runs.setdefault(name.split("/")[1], []).append(name)
    return runs


def _sweep(archive: Archive, name: str, manifest: Manifest, path: Path) -> Sweep:
    text = text_of(archive, name)
    if hashlib.sha256(text).hexdigest() != manifest.members[name].sha256:
        raise PackError(f"{path}: {name} does not match its SHA-256; copy the file again.")
    sweep = decoded(text, Sweep, f"{path}: {name}")
    if problem := limits.sweep_problem(sweep):
        raise PackError(f"{path}: {name} cannot be trained: {problem}")
    return sweep


def _source(archive: Archive, path: Path, name: str, member: Member) -> str:
    """Return the text of a model file, which is named after its SHA-256; it is stored and not executed."""
    content = io.BytesIO()
    _extract(archive, path, name, member, content)
    if PurePosixPath(name).stem != member.sha256:
        raise PackError(f"{path}: {name} has another SHA-256 than its name says.")
    try:
        return content.getvalue().decode()
    except UnicodeDecodeError as error:
        raise PackError(f"{path}: {name} is not UTF-8 text.") from error


def _extract(archive: Archive, path: Path, name: str, member: Member, target: BinaryIO) -> None:
    digest, size = hashlib.sha256(), 0
    with archive.open(name) as source:
        for chunk in _chunks(source, member.bytes):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    if digest.hexdigest() != member.sha256 or size != member.bytes:
        raise PackError(f"{path}: {name} does not match its SHA-256; copy the file again.")


def _chunks(source: IO[bytes], most: int) -> Iterator[bytes]:
    """Read at most this many bytes: a member that unpacks to more than it declares is cut, and then refused."""
    while most > 0 and (chunk := source.read(min(CHUNK, most))):
        most -= len(chunk)
        yield chunk
