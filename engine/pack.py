"""A workspace's runs in one zip file, and back: from a box whose disk is lost tonight to the machine at home.

The file holds `manifest.json` (each member's size and SHA-256, notes and choices) and, as in the workspace, `runs/` and
`sweeps/`; no data. A packed file comes from outside: nothing of it is believed before it was checked, and a run comes
into the workspace whole, by one renaming.
"""

import hashlib
import re
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from engine import pointer
from engine.files import make_folder, publish
from engine.plan import Sweep
from engine.protocol import Note, RunResult, Statement
from engine.spec import RunSpec

Kind = TypeVar("Kind")

MANIFEST = "manifest.json"
STAGING = "importing"
"""Folder of the workspace in which runs are put together; what a killed import left in it is dropped."""
MEMBER = re.compile(
    r"sweeps/[0-9a-f]{12}\.json"
    r"|runs/[0-9a-f]{12}/(spec\.json|journal\.jsonl|result\.json|model\.keras|checkpoint/(latest\.json|epoch-\d{1,9}\.npz))"
)
MAX_MEMBERS = 500_000
MAX_MEMBER_BYTES = 2**31
MAX_JSON_BYTES = 2**26
MAX_BYTES = 2**38
CHUNK = 2**20


class PackError(ValueError):
    """The file cannot be used; one sentence says what is wrong, where, and what to do."""


class Member(msgspec.Struct, frozen=True):
    """A file in the zip."""

    bytes: int
    sha256: str


class Remarks(msgspec.Struct, frozen=True):
    """What the user said about runs and questions."""

    notes: tuple[Note, ...] = ()
    choices: dict[str, str] = {}
    statements: dict[str, tuple[Statement, ...]] = {}


class Manifest(msgspec.Struct, frozen=True):
    """What was packed."""

    members: dict[str, Member]
    remarks: Remarks = Remarks()
    format: int = 1


class Unpacked(msgspec.Struct, frozen=True):
    """What an import did: names of runs."""

    finished: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    remarks: Remarks = Remarks()


def pack(root: Path, target: Path, remarks: Remarks) -> int:
    """Write the workspace's runs to a zip file and return how many they are. The workspace may be in use.

    Raises:
        OSError: the file cannot be written; nothing of it is left.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    members: dict[str, Member] = {}
    runs = 0
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for path in sorted((root / "sweeps").glob("*.json")):
                _add(archive, root, path, members)
            for folder in sorted((root / "runs").iterdir()):
                if (folder / "spec.json").is_file():
                    runs += 1
                    for path in _files_of(folder):
                        _add(archive, root, path, members)
            archive.writestr(MANIFEST, msgspec.json.encode(Manifest(members, remarks)))
        publish(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return runs


def unpack(root: Path, path: Path, *, busy: frozenset[str]) -> Unpacked:
    """Take in what is new: runs that are finished here, or in training (`busy`), stay as they are.

    An unfinished run comes in where its checkpoint is further than the one here. Killed half-way, the same import
    completes what is missing.

    Raises:
        PackError: the file is damaged or no such file; the runs that were taken in before are whole.
        OSError: it cannot be read, or the workspace not be written.
    """
    staging = root / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _checked(archive, path)
            runs = _by_run(manifest)
            sweeps = tuple(_sweep(archive, name, manifest, path) for name in manifest.members if name[:7] == "sweeps/")
            finished: list[str] = []
            unfinished: list[str] = []
            known: list[str] = []
            for run_id, names in runs.items():
                here = root / "runs" / run_id
                if run_id in busy or (here / "result.json").exists():
                    known.append(run_id)
                    continue
                folder = make_folder(staging / run_id)
                for name in names:
                    _extract(archive, name, manifest.members[name], folder / name.split("/", 2)[2], path)
                is_finished = _check_run(folder, run_id, path)
                if not is_finished and here.exists() and pointer.read(folder).epoch <= pointer.read(here).epoch:
                    known.append(run_id)
                    continue
                if here.exists():  # fewer epochs than what comes
                    here.rename(make_folder(root / "trash") / f"{run_id}.before-import-{secrets.token_hex(4)}")
                folder.rename(here)
                (finished if is_finished else unfinished).append(run_id)
    except zipfile.BadZipFile as error:
        raise PackError(f"{path} is damaged ({error}); copy it again.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    notes = tuple(note for note in manifest.remarks.notes if note.run_id in runs)
    remarks = msgspec.structs.replace(manifest.remarks, notes=notes)
    return Unpacked(tuple(finished), tuple(unfinished), tuple(known), sweeps, remarks)


def _files_of(folder: Path) -> Iterator[Path]:
    """Yield a run's files: those of the outcome when it has one, else those that it goes on from."""
    if (folder / "result.json").is_file():
        yield from (folder / name for name in ("spec.json", "journal.jsonl", "model.keras", "result.json"))
        return
    yield folder / "spec.json"
    yield folder / "journal.jsonl"
    for entry in pointer.read(folder).entries[:1]:
        yield folder / pointer.FOLDER / Path(entry.file).name
    yield folder / pointer.FOLDER / pointer.POINTER


def _add(archive: zipfile.ZipFile, root: Path, path: Path, members: dict[str, Member]) -> None:
    """Copy a file as it is at this moment; one that has gone meanwhile is left out."""
    name = path.relative_to(root).as_posix()
    try:
        source = path.open("rb")
    except FileNotFoundError:
        return
    digest, count = hashlib.sha256(), 0
    with source, archive.open(name, "w", force_zip64=True) as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            count += len(chunk)
            target.write(chunk)
    members[name] = Member(count, digest.hexdigest())


def _checked(archive: zipfile.ZipFile, path: Path) -> Manifest:
    """Look at the list of members, and read the manifest, before anything is unpacked."""
    found = {member.filename: member for member in archive.infolist()}
    if len(found) != len(archive.infolist()) or len(found) > MAX_MEMBERS or MANIFEST not in found:
        raise PackError(f"{path} was not written by `svhn-tui pack`.")
    for name, member in found.items():
        if name != MANIFEST and not MEMBER.fullmatch(name):
            raise PackError(f"{path} holds {name[:80]!r}, which `svhn-tui pack` does not write.")
        if stat.S_ISLNK(member.external_attr >> 16) or member.file_size > MAX_MEMBER_BYTES:
            raise PackError(f"{path}: {name} is a link or too large.")
    if sum(member.file_size for member in found.values()) > MAX_BYTES:
        raise PackError(f"{path} unpacks to more than {MAX_BYTES // 2**30} GiB.")
    manifest = _decoded(_text(archive, MANIFEST, path), Manifest, f"{path}: {MANIFEST}")
    if manifest.format != 1:
        raise PackError(f"{path} was written by a newer svhn-tui; update this one.")
    if set(manifest.members) != set(found) - {MANIFEST}:
        raise PackError(f"{path}: its members are not those of its manifest; copy it again.")
    return manifest


def _by_run(manifest: Manifest) -> dict[str, list[str]]:
    runs: dict[str, list[str]] = {}
    for name in manifest.members:
        if name.startswith("runs/"):
            runs.setdefault(name.split("/")[1], []).append(name)
    return runs


def _sweep(archive: zipfile.ZipFile, name: str, manifest: Manifest, path: Path) -> Sweep:
    text = _text(archive, name, path)
    if hashlib.sha256(text).hexdigest() != manifest.members[name].sha256:
        raise PackError(f"{path}: {name} does not match its SHA-256; copy the file again.")
    return _decoded(text, Sweep, f"{path}: {name}")


def _text(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if archive.getinfo(name).file_size > MAX_JSON_BYTES:
        raise PackError(f"{path}: {name} is too large.")
    with archive.open(name) as file:
        return file.read(MAX_JSON_BYTES)


def _decoded(text: bytes, kind: type[Kind], where: str) -> Kind:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PackError(f"{where} cannot be understood: {error}.") from error


def _extract(archive: zipfile.ZipFile, name: str, member: Member, target: Path, path: Path) -> None:
    make_folder(target.parent)
    digest = hashlib.sha256()
    with archive.open(name) as source, target.open("wb") as file:
        for chunk in _chunks(source, member.bytes):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != member.sha256 or target.stat().st_size != member.bytes:
        raise PackError(f"{path}: {name} does not match its SHA-256; copy the file again.")


def _chunks(source: IO[bytes], most: int) -> Iterator[bytes]:
    """Read at most this many bytes: a member that unpacks to more than it says is cut, and then refused."""
    while most > 0 and (chunk := source.read(min(CHUNK, most))):
        most -= len(chunk)
        yield chunk


def _check_run(folder: Path, run_id: str, path: Path) -> bool:
    """Say whether a run that was put together is finished.

    Raises:
        PackError: it is not the run that its name says, or its file is not the one of its result.
    """
    where = f"{path}: run {run_id}"
    if not (folder / "spec.json").exists():
        raise PackError(f"{where} does not say what it trains.")
    spec = _decoded((folder / "spec.json").read_bytes(), RunSpec, where)
    if spec.run_id != run_id:
        raise PackError(f"{where} is another run, {spec.run_id}.")
    if not (folder / "result.json").exists():
        return False
    result = _decoded((folder / "result.json").read_bytes(), RunResult, where)
    if result.run_id != run_id or result.spec != spec or not (folder / "model.keras").exists():
        raise PackError(f"{where} has the result of another run, or no model.keras.")
    with (folder / "model.keras").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != result.model_sha256:
            raise PackError(f"{where}: its model.keras is not the one that was trained.")
    return True
