"""A workspace's runs in one zip file, and back: from a box whose disk is lost tonight to the machine at home.

The file holds `manifest.json` (each member's size and SHA-256, notes and choices) and, as in the workspace, `runs/` and
`sweeps/`; no data. A packed file comes from outside: nothing of it is believed before it was checked, and a run comes
into the workspace whole, by one renaming.
"""

import errno
import hashlib
import re
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

import msgspec

from engine import limits, pointer
from engine.archives import Archive, ArchiveError, OpenFolder, open_zip
from engine.files import make_folder, publish
from engine.plan import Sweep
from engine.plausible import name_problem, note_problem, result_problem, statement_problem
from engine.protocol import UNREADABLE, Note, RunResult, Statement
from engine.spec import RunSpec

Kind = TypeVar("Kind")

MANIFEST = "manifest.json"
STAGING = "importing"
"""Folder of the workspace in which runs are put together; what a killed import left in it is dropped."""
MEMBER = re.compile(
    r"sweeps/[0-9a-f]{12}\.json"
    r"|runs/[0-9a-f]{12}/(spec\.json|journal\.jsonl|result\.json|model\.keras|checkpoint/(latest\.json|epoch-\d{1,9}\.npz))"
)
MAX_DIRECTORY_BYTES = 2**22
MAX_MEMBERS = 40_000
"""Ten thousand finished runs; zipfile's table of contents takes 30 MB then, on the way in and out."""
MAX_MEMBER_BYTES = 2**31
MAX_JOURNAL_BYTES = 2**26
"""A hundred thousand epochs take half of it."""
MAX_JSON_BYTES = 2**23
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
            if len(members) > MAX_MEMBERS:
                raise OSError(errno.EFBIG, f"more than {MAX_MEMBERS:,} files; delete runs first", str(target))
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
        with _opened(path) as archive:
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
    except FileNotFoundError as error:
        raise PackError(f"{error.filename} is not there.") from error
    except ArchiveError as error:
        raise PackError(f"{path} {error}; give the file that `svhn-tui pack` wrote.") from error
    except zipfile.BadZipFile as error:
        raise PackError(f"{path} is damaged ({error}); copy it again.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    notes = tuple(note for note in manifest.remarks.notes if note.run_id in runs)
    remarks = msgspec.structs.replace(manifest.remarks, notes=notes)
    return Unpacked(tuple(finished), tuple(unfinished), tuple(known), sweeps, remarks)


def _opened(path: Path) -> Archive:
    """Open a packed file, or the folder that it was unpacked into, itself or inside the one that is named.

    Raises:
        FileNotFoundError, ArchiveError: it is neither.
    """
    folders = [folder.parent for folder in (path / MANIFEST, *path.glob(f"*/{MANIFEST}")) if folder.is_file()]
    return OpenFolder(folders[0]) if folders else open_zip(path, "packed", most=MAX_DIRECTORY_BYTES)


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


def _checked(archive: Archive, path: Path) -> Manifest:
    """Look at the list of members, and read the manifest, before anything is unpacked."""
    listed = archive.infolist()
    is_folder = isinstance(archive, OpenFolder)
    if is_folder:  # it may hold other things
        listed = [member for member in listed if member.filename == MANIFEST or MEMBER.fullmatch(member.filename)]
    found = {member.filename: member for member in listed}
    if len(found) != len(listed) or len(found) > MAX_MEMBERS or MANIFEST not in found:
        raise PackError(f"{path} was not written by `svhn-tui pack`.")
    for name, member in found.items():
        if name != MANIFEST and not MEMBER.fullmatch(name):
            raise PackError(f"{path} holds {name[:80]!r}, which `svhn-tui pack` does not write.")
        if stat.S_ISLNK(member.external_attr >> 16) or member.compress_type != zipfile.ZIP_STORED:
            raise PackError(f"{path}: {name} is a link or compressed, as `svhn-tui pack` writes none.")
        if member.file_size > _most_bytes(name):
            raise PackError(f"{path}: {name} has {member.file_size:,} bytes, more than such a file has.")
    if not is_folder and sum(member.file_size for member in found.values()) > path.stat().st_size:
        raise PackError(f"{path} unpacks to more than it holds; copy it again.")
    manifest = _decoded(_text(archive, MANIFEST), Manifest, f"{path}: {MANIFEST}")
    if manifest.format != 1:
        raise PackError(f"{path} was written by a newer svhn-tui; update this one.")
    if is_folder:
        manifest = msgspec.structs.replace(manifest, members=_whole(manifest.members, set(found), path))
    elif set(manifest.members) != set(found) - {MANIFEST}:
        raise PackError(f"{path}: its members are not those of its manifest; copy it again.")
    if problem := remarks_problem(manifest.remarks):
        raise PackError(f"{path}: {problem}")
    return manifest


def _whole(members: dict[str, Member], found: set[str], path: Path) -> dict[str, Member]:
    """Return the members of a folder without runs whose checkpoint was unpacked too: those are trained anew."""
    lacking = [name for name in members if name not in found]
    if lost := next((name for name in lacking if "/checkpoint/" not in name), ""):
        raise PackError(f"{path} lacks {lost}; give the packed .zip itself.")
    runs = {name.split("/")[1] for name in lacking}
    return {name: member for name, member in members.items() if name.split("/")[1] not in runs}


def remarks_problem(remarks: Remarks) -> str:
    """Return what of the user's words no workspace would keep; empty when all is as it should be."""
    problems = [
        *map(note_problem, remarks.notes),
        *map(name_problem, (*remarks.choices, *remarks.statements)),
        *(statement_problem(some, len(many)) for many in remarks.statements.values() for some in many),
    ]
    return next(filter(None, problems), "")


def _most_bytes(name: str) -> int:
    """Return the largest size that a member of this name may have."""
    kind = PurePosixPath(name).suffix
    return {".json": MAX_JSON_BYTES, ".jsonl": MAX_JOURNAL_BYTES, ".keras": limits.MAX_MODEL_BYTES}.get(
        kind, MAX_MEMBER_BYTES
    )


def _by_run(manifest: Manifest) -> dict[str, list[str]]:
    runs: dict[str, list[str]] = {}
    for name in manifest.members:
        if name.startswith("runs/"):
            runs.setdefault(name.split("/")[1], []).append(name)
    return runs


def _sweep(archive: Archive, name: str, manifest: Manifest, path: Path) -> Sweep:
    text = _text(archive, name)
    if hashlib.sha256(text).hexdigest() != manifest.members[name].sha256:
        raise PackError(f"{path}: {name} does not match its SHA-256; copy the file again.")
    sweep = _decoded(text, Sweep, f"{path}: {name}")
    if problem := limits.sweep_problem(sweep):
        raise PackError(f"{path}: {name} cannot be trained: {problem}")
    return sweep


def _text(archive: Archive, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read(MAX_JSON_BYTES)


def _decoded(text: bytes, kind: type[Kind], where: str) -> Kind:
    try:
        return msgspec.json.decode(text, type=kind)
    except UNREADABLE as error:
        raise PackError(f"{where} cannot be understood: {error}.") from error


def _extract(archive: Archive, name: str, member: Member, target: Path, path: Path) -> None:
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
    problem = limits.configuration_problem(spec.configuration) or limits.seeds_problem((spec.seed,))
    if problem:
        raise PackError(f"{where} cannot have been trained: {problem}")
    if not (folder / "result.json").exists():
        return False
    result = _decoded((folder / "result.json").read_bytes(), RunResult, where)
    if result.run_id != run_id or result.spec != spec or not (folder / "model.keras").exists():
        raise PackError(f"{where} has the result of another run, or no model.keras.")
    if problem := result_problem(result):
        raise PackError(f"{where} has a result that cannot be: {problem}.")
    with (folder / "model.keras").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != result.model_sha256:
            raise PackError(f"{where}: its model.keras is not the one that was trained.")
    return True
