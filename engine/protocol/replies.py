"""Replies to what one client asked for; no other client gets them."""

from engine.core.pictures import Picture
from engine.core.results import History, RunResult
from engine.protocol.message import Event


class TrashRead(Event, frozen=True, kw_only=True):
    """The finished runs in the trash."""

    results: tuple[RunResult, ...]


class HistoryRead(Event, frozen=True, kw_only=True):
    """The answer to `Watch`, for one run. `damaged_lines` of its journal could not be read."""

    run_id: str
    history: History
    damaged_lines: int = 0
    problem: str = ""
    """Why its journal cannot be read at all."""


class FilesChecked(Event, frozen=True, kw_only=True):
    """SHA-256 of each run's `model.keras`, in hexadecimal; None where there is no such file.

    Each run that was asked about is in one of the two.
    """

    hashes: dict[str, str | None]
    unreadable: dict[str, str] = {}
    """Why the file of a run cannot be read."""


class LogRead(Event, frozen=True, kw_only=True):
    """The answer to `ReadLog`: some lines of a log, without control sequences."""

    run_id: str
    file: str = ""
    """The log's path below the workspace; empty where nothing was printed."""
    begins: int = 0
    ends: int = 0
    """`begins` and `ends` are the offsets of the text in the file, in bytes."""
    text: str = ""
    problem: str = ""
    """Why it cannot be read."""
    request: str = ""


class Inspected(Event, frozen=True, kw_only=True):
    """The answer to `Inspect`: the run's most confident mistakes, or some training images of each class."""

    run_id: str
    data: str = ""
    """The fingerprint that was asked for, where the data set is not the one in use."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Confusion matrix: counts of test images by true class (rows) and predicted class (columns)."""
    pictures: tuple[Picture, ...] = ()
    templates: tuple[bytes, ...] = ()
    """The weights of each class of a network without hidden layers, as pixels like those of `Picture`."""
    problem: str = ""
    """Why it could not be inspected, in a sentence."""
