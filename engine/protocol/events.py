"""Events that the host reports, named in the past tense, and the union of all events.

Those of runs in training are in `run_events`, replies to one client in `replies`.
"""

from typing import Literal

from engine.core.device_sample import DeviceSample
from engine.core.epoch_time import EpochTime
from engine.core.fleet import Fleet
from engine.core.own_model import ModelFacts
from engine.core.remarks import Note, Statement
from engine.core.results import DataSet, RunResult
from engine.core.spec import OwnModel
from engine.core.sweep import Sweep
from engine.core.waiting_run import WaitingRun
from engine.protocol.message import PROTOCOL_VERSION, Event
from engine.protocol.replies import FilesChecked, HistoryRead, Inspected, LogRead, TrashRead
from engine.protocol.run_events import (
    CheckpointSaved,
    EpochEnded,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunPaused,
    RunStarted,
)


class Attached(Event, frozen=True, kw_only=True):
    """First event on a connection. The state follows as further events and ends with `CaughtUp`."""

    workspace: str
    host_pid: int
    versions: dict[str, str]
    protocol: int = PROTOCOL_VERSION
    data: DataSet | None = None
    known: tuple[DataSet, ...] = ()
    """All data sets whose files exist, the one opened last at the end."""
    has_begun: bool = True
    """The waiting runs are being trained; otherwise they wait until a client asks for training."""
    results: int = 0
    choices: dict[str, str] = {}
    statements: dict[str, tuple[Statement, ...]] = {}


class RunsRead(Event, frozen=True, kw_only=True):
    """Finished runs and notes from before the connection, some hundred at a time."""

    results: tuple[RunResult, ...] = ()
    notes: tuple[Note, ...] = ()


class CaughtUp(Event, frozen=True, kw_only=True):
    """The state from before the connection has been sent completely."""


class DataOpened(Event, frozen=True, kw_only=True):
    """A data set was opened: the workspace trains on it from now on, or knows it beside the one in use."""

    data: DataSet
    is_beside: bool = False
    request: str = ""


class SweepSubmitted(Event, frozen=True, kw_only=True):
    """A sweep was accepted; `missing` are its runs that have to be trained at present."""

    sweep: Sweep
    missing: tuple[str, ...]
    request: str = ""


class TrialStarted(Event, frozen=True, kw_only=True):
    """An own model is being built, to find out whether it trains; `ModelTried` reports the outcome.

    No event reports that the trial was cancelled, which happens when no run waits for its outcome any more.
    """

    model: OwnModel
    data: str
    file: str
    """What the user calls its file."""
    started_at: float
    """Seconds since 1970."""
    seconds: float
    """How long it may take."""


class ModelTried(Event, frozen=True, kw_only=True):
    """An own model was built for a data set, to find out whether it trains, and which trainer it needs."""

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
        """Reject a negative index."""
        if self.index is not None and self.index < 0:
            raise ValueError("an index in the queue is 0 or more")


class RunsUnqueued(Event, frozen=True, kw_only=True):
    """These runs left the queue: a worker got them, they are moved, or no sweep asks for them any more."""

    runs: tuple[str, ...]
    worker: str = ""
    """The worker that got them; `RunStarted` follows when it begins."""


class RunsHeld(Event, frozen=True, kw_only=True):
    """These runs were paused or released; their positions in the queue did not change."""

    runs: tuple[str, ...]
    paused: bool


class RunsCancelled(Event, frozen=True, kw_only=True):
    """These runs were cancelled: they are not trained until a sweep asks for them again."""

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
    """The device that trains, as JAX names it."""
    pid: int = 0
    """The process id on the machine that it runs on."""
    where: str = ""
    """`Slurm`, or the box that is reached over ssh; empty for the host's own machine."""
    node: str = ""
    """The machine that it runs on, once it runs."""
    gpu: str = ""
    """The GPU of the node that it was given, as CUDA_VISIBLE_DEVICES names it."""
    uuid: str = ""
    """That GPU's UUID by its driver; the same card may be GPU 0 of several jobs."""
    pci: str = ""
    """That GPU's PCI address."""
    job: str = ""
    """The number of its job in Slurm."""
    expected_at: float | None = None
    """When Slurm expects to start it."""
    ends_at: float | None = None
    """When its time is over."""


class RunDeleted(Event, frozen=True, kw_only=True):
    """A run is in the trash."""

    run_id: str


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


class Imported(Event, frozen=True, kw_only=True):
    """A packed file was imported: numbers of runs that are new, of unfinished ones, and of those known already."""

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
    """A command failed; `reason` is one sentence: what is wrong, where, and what to do."""

    command: str
    reason: str
    request: str = ""


class Done(Event, frozen=True, kw_only=True):
    """A command with a `request` was carried out; it is sent even where another event repeats the `request`."""

    request: str


class HostEnded(Event, frozen=True, kw_only=True):
    """The host ended properly; no more events follow."""

    reason: str = ""


AnyEvent = (
    Attached
    | RunsRead
    | CaughtUp
    | DataOpened
    | SweepSubmitted
    | TrialStarted
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
