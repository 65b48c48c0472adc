"""What crosses between a relay here and its outpost on another machine: a worker's messages, and files in parts.

One line a message, both ways, as on every pipe of the program. Each line begins with the CRC-32 of its text, which
tells messages from what a login prints and shows what was garbled; a file is taken only if its SHA-256 is right.
"""

import hashlib
import importlib.metadata
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, TypeVar

import msgspec

from engine import protocol as p
from engine.files import PRIVATE_FILE, publish
from engine.spec import NUMERICS_VERSION

Kind = TypeVar("Kind")

PART_BYTES = 96 * 1024
"""Of a file in one line: 128 KiB as text."""
MAX_FILE_BYTES = 2**31
MAX_LINE_BYTES = 2**20
"""Three parts or more, or the epoch of a thousand lanes."""
LIBRARIES = {"fast": ("keras", "jax", "numpy"), "keras-fit": ("keras", "tensorflow", "numpy")}
"""What has to be the same on both sides, by trainer, for equal runs to be equal and files to be those asked for."""
CRC_DIGITS = 8
BEAT_SECONDS = 15.0
"""How often a relay says that it is there."""
SILENCE_SECONDS = 60
"""After this long without a word an outpost takes its relay for lost: TCP alone would wait for hours."""


class FreightError(ValueError):
    """What came is not what was sent."""


class Cargo(msgspec.Struct, frozen=True):
    """Which file it is; the receiver alone knows where it belongs."""

    kind: Literal["data", "checkpoint", "model"]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    run_id: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{12})?$")] = ""
    epoch: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Of a checkpoint."""


class Part(p.Message, frozen=True, kw_only=True):
    """A piece of a file. One file at a time, its parts in order."""

    cargo: Cargo
    offset: int
    content: bytes
    is_last: bool = False


# --- from the outpost ------------------------------------------------------------------------------------------------


class Reached(p.Message, frozen=True, kw_only=True):
    """An outpost's first word: where it is, and with what it would train."""

    host: str
    gpus: int
    workers: int
    """Of the user on this machine, this one included."""
    versions: dict[str, str]
    numerics: int
    protocol: int = p.PROTOCOL_VERSION


class DataWanted(p.Message, frozen=True, kw_only=True):
    """A data file that a task needs is not there yet."""

    sha256: str


class LogRead(p.Message, frozen=True, kw_only=True):
    """The end of the `engine.log` of a run that failed."""

    run_id: str
    text: str


class WorkerEnded(p.Message, frozen=True, kw_only=True):
    """The worker ended though nobody told it to; its exit status, negative for a signal."""

    status: int


FromWorker = p.WorkerChanged | p.RunStarted | p.EpochEnded | p.CheckpointSaved | p.Ended | p.Noticed
"""What a worker says; nothing else of the protocol is taken from another machine."""
Home = Reached | Part | DataWanted | LogRead | WorkerEnded | FromWorker

# --- to the outpost --------------------------------------------------------------------------------------------------


class Task(p.Message, frozen=True, kw_only=True):
    """What to train, on files of these SHA-256; checkpoints to go on from were sent before."""

    train: p.Train
    train_sha256: str
    test_sha256: str


class Beat(p.Message, frozen=True, kw_only=True):
    """The relay is there."""


Out = Task | Part | p.StopRuns | Beat

_home: msgspec.json.Decoder[Home] = msgspec.json.Decoder(Home)
_out: msgspec.json.Decoder[Out] = msgspec.json.Decoder(Out)


def encode(message: p.Message) -> bytes:
    """Return the message as one line, its checksum before it."""
    text = p.encode(message)
    return b"%08x " % zlib.crc32(text[:-1]) + text


def decode_home(line: bytes) -> Home:
    """Read a line from an outpost.

    Raises:
        FreightError: it is none, or was garbled.
    """
    return _decoded(line, _home)


def decode_out(line: bytes) -> Out:
    """Read a line from a relay.

    Raises:
        FreightError: it is none, or was garbled.
    """
    return _decoded(line, _out)


def _decoded(line: bytes, decoder: msgspec.json.Decoder[Kind]) -> Kind:
    crc, text = line[:CRC_DIGITS], line[CRC_DIGITS + 1 :].rstrip(b"\n")
    if crc != b"%08x" % zlib.crc32(text):
        raise FreightError("A line was garbled on the way.")
    try:
        return decoder.decode(text)
    except p.UNREADABLE as error:
        raise FreightError(f"Not a message: {str(error)[:200]}.") from error


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def difference(reached: Reached, trainer: str) -> str:
    """Say what has to be the same there and here and is not, or nothing."""
    here = {name: importlib.metadata.version(name) for name in LIBRARIES[trainer]}
    here |= {"svhn-tui's numerics": str(NUMERICS_VERSION), "its protocol": str(p.PROTOCOL_VERSION)}
    there = reached.versions | {"svhn-tui's numerics": str(reached.numerics), "its protocol": str(reached.protocol)}
    others = [
        f"{name} {there.get(name, 'none')} instead of {here[name]}" for name in here if there.get(name) != here[name]
    ]
    return f"It has {', '.join(others)}; install the same svhn-tui there as here." if others else ""


def parts(cargo: Cargo, file: BinaryIO) -> Iterator[Part]:
    """Cut a file into parts."""
    offset, content = 0, file.read(PART_BYTES)
    while True:
        following = file.read(PART_BYTES)
        yield Part(cargo=cargo, offset=offset, content=content, is_last=not following)
        if not following:
            return
        offset, content = offset + len(content), following


class Arrival:
    """A file that arrives in parts. It lies in its folder without a name until it is whole and found right."""

    def __init__(self, cargo: Cargo, folder: Path) -> None:
        """Begin.

        Raises:
            OSError: it cannot be written there.
        """
        self.cargo = cargo
        self.is_whole = False
        self._size = 0
        self._temporary = folder / f".{cargo.kind}.{secrets.token_hex(4)}.tmp"
        self._temporary.touch(PRIVATE_FILE)
        self._digest = hashlib.sha256()

    def take(self, part: Part) -> bool:
        """Add the next part and say whether the file is whole; after an OSError the same part may be given again.

        Raises:
            FreightError: it is not the next part, or the file is not what its SHA-256 says.
            OSError: it could not be written.
        """
        if part.cargo != self.cargo or part.offset != self._size or self.is_whole:
            raise FreightError("The parts of a file came out of order.")
        if self._size + len(part.content) > MAX_FILE_BYTES:
            raise FreightError("A file is larger than any that is trained with.")
        with self._temporary.open("r+b") as file:
            file.seek(self._size)
            file.write(part.content)
        self._digest.update(part.content)
        self._size += len(part.content)
        if part.is_last and self._digest.hexdigest() != self.cargo.sha256:
            raise FreightError(f"A {self.cargo.kind} file does not match its SHA-256.")
        self.is_whole = part.is_last
        return self.is_whole

    def publish(self, path: Path) -> None:
        """Give the whole file its name in the folder.

        Raises:
            OSError: it could not be moved.
        """
        publish(self._temporary, path)

    def drop(self) -> None:
        """Forget what arrived."""
        self._temporary.unlink(missing_ok=True)
