"""Events that host and workers report, named in the past tense.

Whole because it is a list: a struct an event, and their union.
"""

from typing import Literal

import msgspec

from engine.core.device_sample import DeviceSample
from engine.core.epoch_time import EpochTime
from engine.core.fleet import Fleet
from engine.core.options import MAX_EPOCHS
from engine.core.own_model import ModelFacts
from engine.core.pictures import Picture
from engine.core.remarks import Note, Statement
from engine.core.results import DataSet, EpochRow, History, RunResult
from engine.core.spec import OwnModel, RunSpec
from engine.core.sweep import Sweep
from engine.core.waiting_run import WaitingRun
from engine.protocol.message import PROTOCOL_VERSION, Event


class Attached(Event, frozen=True, kw_only=True):
    """First event on a connection. The state follows as further events and ends with `CaughtUp`."""

    workspace: str
    host_pid: int
    versions: dict[str, str]
    protocol: int = PROTOCOL_VERSION
    data: DataSet | None = None
    known: tuple[DataSet, ...] = ()
    """All data sets whose files are there, the one opened last at the end."""
    has_begun: bool = True
    """What waits is being trained; else it waits until somebody asks for it."""
    results: int = 0
    choices: dict[str, str] = {}
    statements: dict[str, tuple[Statement, ...]] = {}


class RunsRead(Event, frozen=True, kw_only=True):
    """Finished runs and notes that were there already, some hundred at a time."""

    results: tuple[RunResult, ...] = ()
    notes: tuple[Note, ...] = ()


class CaughtUp(Event, frozen=True, kw_only=True):
    """The state from before the connection has been sent completely."""


class DataOpened(Event, frozen=True, kw_only=True):
    """The workspace trains on this data from now on, or knows it beside the one in use."""

    data: DataSet
    is_beside: bool = False
    request: str = ""


class SweepSubmitted(Event, frozen=True, kw_only=True):
    """A sweep was accepted; `missing` are its runs that have to be trained at present."""

    sweep: Sweep
    missing: tuple[str, ...]
    request: str = ""


class ModelTried(Event, frozen=True, kw_only=True):
    """An own model was built for a data set, to see whether and with what it trains."""

    model: OwnModel
    data: str
    facts: ModelFacts


class RunsQueued(Event, frozen=True, kw_only=True):
    """These runs joined the queue, some hundred at a time: at its end, or so that the first of them has this index.

    The queue is sent by what changes in it, and never as a whole: with 100,000 runs it is 25 MB long.
    """

    waiting: tuple[WaitingRun, ...]
    index: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no index."""
        if self.index is not None and self.index < 0:
            raise ValueError("an index in the queue is 0 or more")


class RunsUnqueued(Event, frozen=True, kw_only=True):
    """These runs left the queue: a worker was given them, they are to move, or they are not wanted any more."""

    runs: tuple[str, ...]


class RunsHeld(Event, frozen=True, kw_only=True):
    """These runs keep their place in the queue, and are held there, or no longer."""

    runs: tuple[str, ...]
    paused: bool


class RunsCancelled(Event, frozen=True, kw_only=True):
    """These runs were cancelled: nothing trains them until they are asked for again."""

    runs: tuple[str, ...]


class FleetChanged(Event, frozen=True, kw_only=True):
    """Where workers run from now on."""

    fleet: Fleet
    request: str = ""


WorkerState = Literal["starting", "waiting", "ready", "training", "ended"]


class WorkerChanged(Event, frozen=True, kw_only=True):
    """A worker's state, in a word and a sentence. `waiting`: in Slurm's queue, or for a connection.

    Times are seconds since 1970.
    """

    worker: str
    state: WorkerState
    text: str = ""
    """Why it waits or ended."""
    device: str = ""
    """What trains, as JAX calls it."""
    pid: int = 0
    """On the machine that it runs on."""
    where: str = ""
    """`Slurm`, or the box that is reached over ssh; empty for the host's own machine."""
    node: str = ""
    """The machine that it runs on, once it runs."""
    gpu: str = ""
    """The GPU of the node that it was given, as CUDA_VISIBLE_DEVICES names it."""
    uuid: str = ""
    """Of that GPU, as the driver tells it from inside; the same card may be GPU 0 of several jobs."""
    pci: str = ""
    """Its address in the machine."""
    job: str = ""
    """Slurm's number for it."""
    expected_at: float | None = None
    """When Slurm expects to start it."""
    ends_at: float | None = None
    """When its time is over."""


class RunStarted(Event, frozen=True, kw_only=True):
    """A group began to train; `epoch` epochs are done already (above 0 after a resume)."""

    group: str
    runs: tuple[str, ...]
    specs: tuple[RunSpec, ...]
    worker: str
    device: str
    epoch: int = 0

    def __post_init__(self) -> None:
        """Reject an event without exactly one specification a run."""
        if len(self.runs) != len(self.specs) or not 0 <= self.epoch <= MAX_EPOCHS:
            raise ValueError("a group has one specification for each of its runs")


class EpochEnded(Event, frozen=True, kw_only=True):
    """An epoch of every lane of a group; one row a lane, in the order of `runs`."""

    group: str
    runs: tuple[str, ...]
    epoch: int
    rows: tuple[EpochRow, ...]
    images_per_second: float
    """Training images of all lanes together."""

    def __post_init__(self) -> None:
        """Refuse what no group could have told: readers count on a row a lane."""
        if not self.runs or len(self.runs) != len(self.rows) or not 1 <= self.epoch <= MAX_EPOCHS:
            raise ValueError(f"an epoch from 1 to {MAX_EPOCHS:,} has one row for each of its runs")

    @property
    def seconds(self) -> float:
        """Wall time of the group's epoch, its evaluation included."""
        return self.rows[0].seconds or 0.0


class CheckpointSaved(Event, frozen=True, kw_only=True):
    """These runs can go on from the end of this epoch, whatever dies."""

    runs: tuple[str, ...]
    epoch: int


class RunFinished(Event, frozen=True, kw_only=True):
    """A run's files and its result are on disk."""

    result: RunResult


class RunFailed(Event, frozen=True, kw_only=True):
    """A run ended without a result; it is not tried again until `Resume`. The host tries one that ran `out_of_memory`
    again by itself, with fewer side by side, before it says so."""

    run_id: str
    reason: str
    out_of_memory: bool = False


class RunInterrupted(Event, frozen=True, kw_only=True):
    """A run stopped at `epoch`, to go on from its checkpoint; `reason` says why."""

    run_id: str
    reason: str
    epoch: int = 0


class RunPaused(Event, frozen=True, kw_only=True):
    """A run is held at `epoch` until `Resume`."""

    run_id: str
    epoch: int = 0


Ended = RunFinished | RunFailed | RunInterrupted | RunPaused
"""A worker has the run no longer."""


class RunDeleted(Event, frozen=True, kw_only=True):
    """A run is in the trash."""

    run_id: str


class TrashRead(Event, frozen=True, kw_only=True):
    """The finished runs in the trash."""

    results: tuple[RunResult, ...]


class NoteChanged(Event, frozen=True, kw_only=True):
    """A run's note and tags were replaced."""

    note: Note


class ChoiceChanged(Event, frozen=True, kw_only=True):
    """The run whose file a question hands in was chosen; none means the first seed's."""

    question: str
    run_id: str | None


class Judged(Event, frozen=True, kw_only=True):
    """The statements of a multiple-choice question, after a change."""

    question: str
    statements: tuple[Statement, ...]


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
    """The answer to `ReadLog`: some lines of a log, without what a terminal would obey."""

    run_id: str
    file: str = ""
    """Below the workspace; empty where nothing was printed."""
    begins: int = 0
    ends: int = 0
    """Bytes from the start of the file: where the text stands in it."""
    text: str = ""
    problem: str = ""
    """Why it cannot be read."""
    request: str = ""


class Inspected(Event, frozen=True, kw_only=True):
    """The answer to `Inspect`: the run's most confident mistakes, or some training images of each class."""

    run_id: str
    data: str = ""
    """What was asked for besides: the fingerprint of a data set that is not the one in use."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Test images by true class (rows) and by what was said (columns)."""
    pictures: tuple[Picture, ...] = ()
    templates: tuple[bytes, ...] = ()
    """For a network without hidden layers, what each class looks for, as pixels like those of `Picture`."""
    problem: str = ""
    """Why nothing could be looked at, in a sentence."""


class Imported(Event, frozen=True, kw_only=True):
    """A packed file was taken in: runs that are new here, unfinished ones that go on, and those that were here."""

    finished: int
    unfinished: int
    known: int
    request: str = ""


class DeviceSampled(Event, frozen=True, kw_only=True):
    """The load of all devices."""

    samples: tuple[DeviceSample, ...]
    at: float


class Timed(Event, frozen=True, kw_only=True):
    """The measured epoch times that forecasts are made from."""

    times: tuple[EpochTime, ...]


class Noticed(Event, frozen=True, kw_only=True):
    """Something that the user should know: a damaged file set aside, a full disk."""

    text: str
    severity: Literal["information", "warning", "error"] = "information"


class Refused(Event, frozen=True, kw_only=True):
    """A command could not be done; `reason` is one sentence: what, where, what to do."""

    command: str
    reason: str
    request: str = ""


class Done(Event, frozen=True, kw_only=True):
    """A command was carried out. Whoever sent it with a `request` is told, also where another event repeats that."""

    request: str


class HostEnded(Event, frozen=True, kw_only=True):
    """The host leaves in order; nothing more will come."""

    reason: str = ""


AnyEvent = (
    Attached
    | RunsRead
    | CaughtUp
    | DataOpened
    | SweepSubmitted
    | ModelTried
    | RunsQueued
    | RunsUnqueued
    | RunsHeld
    | RunsCancelled
    | FleetChanged
    | WorkerChanged
    | RunStarted
    | EpochEnded
    | CheckpointSaved
    | RunFinished
    | RunFailed
    | RunInterrupted
    | RunPaused
    | RunDeleted
    | TrashRead
    | NoteChanged
    | ChoiceChanged
    | Judged
    | HistoryRead
    | FilesChecked
    | LogRead
    | Inspected
    | Imported
    | DeviceSampled
    | Timed
    | Noticed
    | Refused
    | Done
    | HostEnded
)


def of_lane(event: RunStarted | EpochEnded, lane: int) -> RunStarted | EpochEnded:
    """Return what an event of a group says about one of its runs, as that run's journal keeps it."""
    columns = ("runs", "specs") if isinstance(event, RunStarted) else ("runs", "rows")
    return msgspec.structs.replace(event, **{name: (getattr(event, name)[lane],) for name in columns})
