"""What a packed file holds: its manifest and members, checked before anything is unpacked."""

import re
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from engine.core import limits
from engine.core.checks import name_problem, note_problem, statement_problem
from engine.machine.files import MAX_SMALL_BYTES
from engine.protocol import UNREADABLE, Note, Statement
from engine.storage import checkpoint_index
from engine.storage.zip_check import Archive, OpenFolder

Decoded = TypeVar("Decoded")

MANIFEST = "manifest.json"
MEMBER = re.compile(
    r"sweeps/[0-9a-f]{12}\.json"
    r"|models/[0-9a-f]{64}\.py"
    r"|runs/[0-9a-f]{12}/(spec\.json|model\.py|journal\.jsonl|result\.json|model\.keras|checkpoint/(latest\.json|epoch-\d{1,9}\.npz))"
)
MAX_DIRECTORY_BYTES = 2**22
MAX_MEMBERS = 40_000
"""Most members, of ten thousand finished runs; zipfile's table of contents takes 30 MB then."""
MAX_JOURNAL_BYTES = 2**26
"""Largest journal, in bytes; a hundred thousand epochs take half of it."""


class Member(msgspec.Struct, frozen=True):
    """A file in the zip."""

    bytes: int
    sha256: str


class Remarks(msgspec.Struct, frozen=True):
    """The user's notes, choices and verdicts, as a packed file holds them."""

    notes: tuple[Note, ...] = ()
    choices: dict[str, str] = {}
    statements: dict[str, tuple[Statement, ...]] = {}


class Manifest(msgspec.Struct, frozen=True):
    """The content of a packed file."""

    members: dict[str, Member]
    remarks: Remarks = Remarks()
    format: int = 1


class PackError(ValueError):
    """The file cannot be read or imported; one sentence says what is wrong, where, and what to do."""


def checked(archive: Archive, path: Path) -> Manifest:
    """Check the list of members and read the manifest before anything is unpacked."""
    listed = archive.infolist()
    is_folder = isinstance(archive, OpenFolder)
    if is_folder:  # it may hold other things
        listed = [member for member in listed if member.filename == MANIFEST or MEMBER.fullmatch(member.filename)]
    members = {member.filename: member for member in listed}
    if len(members) != len(listed) or len(members) > MAX_MEMBERS or MANIFEST not in members:
        raise PackError(f"{path} was not written by `svhn-tui pack`.")
    for name, member in members.items():
        if name != MANIFEST and not MEMBER.fullmatch(name):
            raise PackError(f"{path} holds {name[:80]!r}, which `svhn-tui pack` does not write.")
        if stat.S_ISLNK(member.external_attr >> 16) or member.compress_type != zipfile.ZIP_STORED:
            raise PackError(f"{path}: {name} is a link or compressed, as `svhn-tui pack` writes none.")
        if member.file_size > _most_bytes(name):
            raise PackError(f"{path}: {name} has {member.file_size:,} bytes, more than such a file has.")
    if not is_folder and sum(member.file_size for member in members.values()) > path.stat().st_size:
        raise PackError(f"{path} unpacks to more than it holds; copy it again.")
    manifest = decoded(text_of(archive, MANIFEST), Manifest, f"{path}: {MANIFEST}")
    if manifest.format != 1:
        raise PackError(f"{path} was written by a newer svhn-tui; update this one.")
    if is_folder:
        manifest = msgspec.structs.replace(manifest, members=_whole(manifest.members, set(members), path))
    elif set(manifest.members) != set(members) - {MANIFEST}:
        raise PackError(f"{path}: its members are not those of its manifest; copy it again.")
    if problem := remarks_problem(manifest.remarks):
        raise PackError(f"{path}: {problem}")
    return manifest


def _whole(members: dict[str, Member], names: set[str], path: Path) -> dict[str, Member]:
    """Return the members of a folder without runs whose checkpoint was unpacked too: those are trained again."""
    lacking = [name for name in members if name not in names]
    if lost := next((name for name in lacking if "/checkpoint/" not in name), ""):
        raise PackError(f"{path} lacks {lost}; give the packed .zip itself.")
    runs = {name.split("/")[1] for name in lacking}
    return {name: member for name, member in members.items() if name.split("/")[1] not in runs}


def remarks_problem(remarks: Remarks) -> str:
    """Return which note, choice or verdict no workspace would accept; empty when all are valid."""
    problems = [
        *map(note_problem, remarks.notes),
        *map(name_problem, (*remarks.choices, *remarks.statements)),
        *(statement_problem(some, len(many)) for many in remarks.statements.values() for some in many),
    ]
    return next(filter(None, problems), "")


def _most_bytes(name: str) -> int:
    """Return the largest size that a member of this name may have."""
    kind = PurePosixPath(name).suffix
    return {
        ".json": MAX_SMALL_BYTES,
        ".py": limits.MAX_SOURCE_BYTES,
        ".jsonl": MAX_JOURNAL_BYTES,
        ".keras": limits.MAX_MODEL_BYTES,
    }.get(kind, checkpoint_index.MAX_BYTES)


def text_of(archive: Archive, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read(MAX_SMALL_BYTES)


def decoded(text: bytes, kind: type[Decoded], where: str) -> Decoded:
    try:
        return msgspec.json.decode(text, type=kind)
    except UNREADABLE as error:
        raise PackError(f"{where} cannot be understood: {error}.") from error
