"""The contract between screen, host and workers: one JSON object a line, told apart by `kind`.

Commands are imperative and go towards the training; events are past tense and come back. A number that is not finite
(a diverged loss) travels as null, because JSON has no NaN. Lines may be long: readers must not assume 64 KiB.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from engine.limits import MAX_EPOCHS
from engine.plan import Sweep
from engine.spec import Configuration, RunSpec

PROTOCOL_VERSION = 2
MAX_LINE_BYTES = 16 * 2**20
"""A longer line is refused: no honest message comes near it."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises on text that is no message, or JSON nested without end."""

Number = float | None
METRICS = ("loss", "accuracy", "test_loss", "test_accuracy")
"""What an epoch measures, by field."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", gc=False):
    """Anything that crosses a process boundary."""


# --- values ----------------------------------------------------------------------------------------------------------


class DataSet(msgspec.Struct, frozen=True, gc=False):
    """What was found in the two files of a data set. Sizes in images; `input_shape` is (channels, height, width)."""

    fingerprint: str
    name: str
    train_path: str
    test_path: str
    train_images: int
    test_images: int
    input_shape: tuple[int, int, int]
    train_counts: tuple[int, ...]
    """Images of each class, in label order."""
    test_counts: tuple[int, ...]
    labels: tuple[str, ...]
    is_demo: bool = False


class History(msgspec.Struct, frozen=True, gc=False):
    """The metrics of a run, one value an epoch, from epoch 1 on. Losses in nats, accuracies 0..1."""

    loss: tuple[Number, ...] = ()
    accuracy: tuple[Number, ...] = ()
    test_loss: tuple[Number, ...] = ()
    test_accuracy: tuple[Number, ...] = ()
    seconds: tuple[float, ...] = ()
    """Wall time of each epoch, its evaluation included."""

    @property
    def epochs(self) -> int:
        """Epochs that are known."""
        return len(self.loss)

    @property
    def diverged_at(self) -> int | None:
        """The epoch from which on the loss is no number; None while it is one, or nothing is known.

        An epoch that was missed has no accuracy either; a network that diverged still has one.
        """
        first = self.epochs
        while first and _has_no_loss(self, first - 1):
            first -= 1
        return first + 1 if first < self.epochs else None


def _has_no_loss(history: History, index: int) -> bool:
    is_known = history.test_accuracy[index] is not None
    return is_known and (history.loss[index] is None or history.test_loss[index] is None)


def extended(history: History, values: tuple[Number, Number, Number, Number], seconds: float) -> History:
    """Return the history with one more epoch: loss, accuracy, test loss and test accuracy."""
    loss, accuracy, test_loss, test_accuracy = values
    return History(
        (*history.loss, loss),
        (*history.accuracy, accuracy),
        (*history.test_loss, test_loss),
        (*history.test_accuracy, test_accuracy),
        (*history.seconds, seconds),
    )


class Circumstances(msgspec.Struct, frozen=True, gc=False):
    """What may decide the last bits of a result, beside its spec: equal ones give equal bits on the same card."""

    lanes: int = 1
    """Runs that were trained side by side."""
    precision: str = ""
    """Of products, as JAX names it."""
    driver: str = ""
    """Version of the GPU's."""
    executable: str = ""
    """Digest of the compiled epoch, the choices included that were made by timing on a GPU."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What `result.json` holds: the outcome of a finished run."""

    run_id: str
    spec: RunSpec
    trainable_parameters: int
    test_correct: int
    test_images: int
    test_accuracy: float
    """`test_correct / test_images` after the last epoch."""
    test_loss: Number
    accuracy: Number
    loss: Number
    best_test_accuracy: float
    best_epoch: int
    slope: Number = None
    """Test accuracy gained an epoch over the last ten, by least squares."""
    slope_error: Number = None
    """Standard error of `slope`."""
    dead_units: Number = None
    """Share of hidden ReLU units that no test image activates."""
    saturated_units: Number = None
    """Share of hidden tanh activations beyond 0.99 in size, over the test images."""
    diverged: bool = False
    seconds: float
    """Training and evaluation, without start-up and compilation."""
    started_at: float
    finished_at: float
    """Seconds since 1970."""
    model_sha256: str
    model_bytes: int
    device: str
    versions: dict[str, str]
    demo_data: bool = False
    trained_by: str = "fast"
    circumstances: Circumstances = Circumstances()


class Note(msgspec.Struct, frozen=True, gc=False):
    """What the user wrote about a run."""

    run_id: str
    text: str = ""
    tags: tuple[str, ...] = ()


Verdict = Literal["open", "true", "false"]
MAX_STATEMENT = 4_000
"""Characters of a statement, and of the facts behind it together."""
MAX_STATEMENTS = 100
"""Of one question."""


class Statement(msgspec.Struct, frozen=True, gc=False):
    """A statement of a multiple-choice question, what the user thinks of it, and the titles of the facts behind it."""

    text: str
    verdict: Verdict = "open"
    facts: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, gc=False):
    """A run in the queue, and the sweep that it is first wanted by."""

    run_id: str
    spec: RunSpec
    sweep_id: str
    title: str
    paused: bool = False


class Picture(msgspec.Struct, frozen=True, gc=False):
    """An image of the data set, and what a run said of it."""

    label: int
    """Index of its class."""
    pixels: bytes
    """Red, green and blue, row by row."""
    said: int | None = None
    confidence: Number = None
    """Probability that the run gave to what it said."""


class DeviceSample(msgspec.Struct, frozen=True, gc=False):
    """One look at a device. Utilisation 0..1, memory in bytes, power in watts, temperature in degrees Celsius."""

    name: str
    utilisation: Number
    memory_used: int
    memory_total: int
    temperature: Number = None
    power: Number = None
    kind: str = ""
    """What a GPU is called by its maker."""
    busy: str = ""
    """Why it is left to others, in a few words."""


class EpochTime(msgspec.Struct, frozen=True, gc=False):
    """Measured speed: seconds of the whole machine that one epoch of one run took, evaluation included."""

    configuration: Configuration
    train_images: int
    seconds: float
    device: str = ""


class Fleet(msgspec.Struct, frozen=True, gc=False):
    """Where workers run: on this machine, unless Slurm or other boxes are to be used."""

    slurm: str | None = None
    """Options of `srun`, as one would type them; None: Slurm is not used."""
    ssh: tuple[str, ...] = ()
    """Boxes, as one would name them to `ssh`, each with its Python behind a colon if that is not found. One worker
    each: a box is named once for each of its GPUs."""
    workers: int = 0
    """Slurm workers at a time; 0 is one."""
    gpus: str = ""
    """GPUs of this machine: empty for all, `none`, or such as `1,3`, as nvidia-smi numbers them."""

    @property
    def is_local(self) -> bool:
        """This machine alone trains."""
        return self.slurm is None and not self.ssh


# --- commands --------------------------------------------------------------------------------------------------------


class Command(Message, frozen=True, kw_only=True):
    """A wish. `request` is any text of the sender's; `Done`, `Refused` and what answers it repeat it."""

    request: str = ""


class OpenData(Command, frozen=True, kw_only=True):
    """Make a folder (or two files) the workspace's data; without a source, the last one used, or else demo data."""

    source: tuple[str, ...] = ()
    demo_train: int = 5_000
    demo_test: int = 1_000


class Begin(Command, frozen=True, kw_only=True):
    """Train what waits, as a screen does that is opened again: until somebody wants training, a host only tells."""


class Submit(Command, frozen=True, kw_only=True):
    """Train what a sweep still lacks."""

    sweep: Sweep


class Pause(Command, frozen=True, kw_only=True):
    """Checkpoint these runs and hold them; all of them when none is named."""

    runs: tuple[str, ...] = ()


class Resume(Command, frozen=True, kw_only=True):
    """Let paused, interrupted or failed runs go on; all that are paused when none is named."""

    runs: tuple[str, ...] = ()


class Cancel(Command, frozen=True, kw_only=True):
    """Take these runs out of the queue; a running one is checkpointed and stopped."""

    runs: tuple[str, ...] = ()


class Reprioritise(Command, frozen=True, kw_only=True):
    """Put these queued runs at a place in the queue, 0 being the next one."""

    runs: tuple[str, ...]
    place: int = 0


class Annotate(Command, frozen=True, kw_only=True):
    """Replace a run's note and tags."""

    run_id: str
    text: str = ""
    tags: tuple[str, ...] = ()


class Choose(Command, frozen=True, kw_only=True):
    """Hand in this run's file for a question; none takes the first seed's again."""

    question: str
    run_id: str | None = None


class Judge(Command, frozen=True, kw_only=True):
    """Keep a statement of a multiple-choice question in the place of the one that reads `replaces`; none removes it."""

    question: str
    statement: Statement | None
    replaces: str = ""


class Delete(Command, frozen=True, kw_only=True):
    """Move these runs to the workspace's trash."""

    runs: tuple[str, ...]


class Restore(Command, frozen=True, kw_only=True):
    """Bring these runs back from the trash."""

    runs: tuple[str, ...]


class ReadTrash(Command, frozen=True, kw_only=True):
    """Tell what lies in the trash."""


class Watch(Command, frozen=True, kw_only=True):
    """Send the history of these runs."""

    runs: tuple[str, ...]


class CheckFiles(Command, frozen=True, kw_only=True):
    """Hash the `model.keras` of these finished runs as it lies there now; answered by `FilesChecked`."""

    runs: tuple[str, ...]


class Inspect(Command, frozen=True, kw_only=True):
    """Look at what a finished run says of the test images; without a run, at images of the data in use."""

    run_id: str = ""


class Import(Command, frozen=True, kw_only=True):
    """Take in the runs of a file that `svhn-tui pack` wrote on another machine."""

    path: str


class SetFleet(Command, frozen=True, kw_only=True):
    """Train with these workers from now on; those that train elsewhere finish what they have."""

    fleet: Fleet
    on_command_line: bool = False
    """The user typed it there, where options of `srun` that run programs are allowed."""


class Shutdown(Command, frozen=True, kw_only=True):
    """Checkpoint everything and end the host; the queue is kept for the next start."""


AnyCommand = (
    OpenData
    | Begin
    | Submit
    | Pause
    | Resume
    | Cancel
    | Reprioritise
    | Annotate
    | Choose
    | Judge
    | Delete
    | Restore
    | ReadTrash
    | Watch
    | CheckFiles
    | Inspect
    | Import
    | SetFleet
    | Shutdown
)


# --- events ----------------------------------------------------------------------------------------------------------


class Event(Message, frozen=True, kw_only=True):
    """Something that happened."""


class Attached(Event, frozen=True, kw_only=True):
    """First event on a connection. The state follows as further events and ends with `CaughtUp`."""

    workspace: str
    host_pid: int
    versions: dict[str, str]
    protocol: int = PROTOCOL_VERSION
    data: DataSet | None = None
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
    """All that had happened before the connection was made has been told."""


class DataOpened(Event, frozen=True, kw_only=True):
    """The workspace trains on this data from now on."""

    data: DataSet
    request: str = ""


class SweepSubmitted(Event, frozen=True, kw_only=True):
    """A sweep was accepted; `missing` are its runs that have to be trained at present."""

    sweep: Sweep
    missing: tuple[str, ...]
    request: str = ""


class RunsQueued(Event, frozen=True, kw_only=True):
    """These runs joined the queue, some hundred at a time: at its end, or so that the first of them has this place.

    The queue is told by what changes in it, and never as a whole: with 100,000 runs it is 25 MB long.
    """

    places: tuple[Place, ...]
    place: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no place."""
        if self.place is not None and self.place < 0:
            raise ValueError("a place in the queue is 0 or more")


class RunsUnqueued(Event, frozen=True, kw_only=True):
    """These runs left the queue: a worker was given them, they are to move, or they are not wanted any more."""

    runs: tuple[str, ...]


class RunsHeld(Event, frozen=True, kw_only=True):
    """These runs keep their place in the queue, and are held there, or no longer."""

    runs: tuple[str, ...]
    paused: bool


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
        """Refuse what no group could have told: readers count on a specification a run."""
        if len(self.runs) != len(self.specs) or not 0 <= self.epoch <= MAX_EPOCHS:
            raise ValueError("a group has one specification for each of its runs")


class EpochEnded(Event, frozen=True, kw_only=True):
    """An epoch of every lane of a group; one value a lane, in the order of `runs`."""

    group: str
    runs: tuple[str, ...]
    epoch: int
    loss: tuple[Number, ...]
    accuracy: tuple[Number, ...]
    test_loss: tuple[Number, ...]
    test_accuracy: tuple[Number, ...]
    seconds: float
    images_per_second: float
    """Training images of all lanes together."""

    def __post_init__(self) -> None:
        """Refuse what no group could have told: readers count on a value a lane."""
        columns = (self.loss, self.accuracy, self.test_loss, self.test_accuracy)
        is_even = self.runs and all(len(column) == len(self.runs) for column in columns)
        if not is_even or not 1 <= self.epoch <= MAX_EPOCHS:
            raise ValueError(f"an epoch from 1 to {MAX_EPOCHS:,} has one value for each of its runs")


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

    found: dict[str, str | None]
    unreadable: dict[str, str] = {}
    """Why the file of a run cannot be read."""


class Inspected(Event, frozen=True, kw_only=True):
    """The answer to `Inspect`: the run's most confident mistakes, or some training images of each class."""

    run_id: str
    confusion: tuple[tuple[int, ...], ...] = ()
    """Test images by true class (rows) and by what was said (columns)."""
    pictures: tuple[Picture, ...] = ()
    templates: tuple[bytes, ...] = ()
    """For a network without hidden layers, what each class looks for, as pixels like those of `Picture`."""


class Imported(Event, frozen=True, kw_only=True):
    """A packed file was taken in: runs that are new here, unfinished ones that go on, and those that were here."""

    finished: int
    unfinished: int
    known: int
    request: str = ""


class DeviceSampled(Event, frozen=True, kw_only=True):
    """A look at all devices."""

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
    | RunsQueued
    | RunsUnqueued
    | RunsHeld
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
    | Inspected
    | Imported
    | DeviceSampled
    | Timed
    | Noticed
    | Refused
    | Done
    | HostEnded
)


# --- host and worker -------------------------------------------------------------------------------------------------


class Train(Command, frozen=True, kw_only=True):
    """Host to worker: train these runs of one configuration as one group, each from its checkpoint if it has one."""

    group: str
    workspace: str
    specs: tuple[RunSpec, ...]
    data: DataSet
    attempt: str = ""
    """Its name, later than that of any attempt before; the runs' folders say whose they are."""


class StopRuns(Command, frozen=True, kw_only=True):
    """Host to worker: checkpoint these runs and let them go; the other lanes train on."""

    runs: tuple[str, ...]
    why: Literal["paused", "cancelled", "interrupted"]


WorkerCommand = Train | StopRuns

_encoder = msgspec.json.Encoder()
_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_command_decoder: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_worker_decoder: msgspec.json.Decoder[WorkerCommand] = msgspec.json.Decoder(WorkerCommand)


def encode(message: Message) -> bytes:
    """Return the message as one line, its newline included."""
    return _encoder.encode(message) + b"\n"


def decode_event(line: bytes) -> AnyEvent:
    """Read one event.

    Raises:
        msgspec.MsgspecError: the line is no event.
    """
    return _event_decoder.decode(line)


def decode_command(line: bytes) -> AnyCommand:
    """Read one command of a screen or a command line.

    Raises:
        msgspec.MsgspecError: the line is no command.
    """
    return _command_decoder.decode(line)


def decode_worker_command(line: bytes) -> WorkerCommand:
    """Read one command of the host to a worker.

    Raises:
        msgspec.MsgspecError: the line is no command.
    """
    return _worker_decoder.decode(line)


def finite(values: Iterable[float]) -> tuple[Number, ...]:
    """Replace what JSON cannot carry by None."""
    return tuple(value if value - value == 0 else None for value in values)


def of_lane(event: RunStarted | EpochEnded, lane: int) -> RunStarted | EpochEnded:
    """Return what an event of a group says about one of its runs, as that run's journal keeps it."""
    columns = ("runs", "specs") if isinstance(event, RunStarted) else ("runs", *METRICS)
    return msgspec.structs.replace(event, **{name: (getattr(event, name)[lane],) for name in columns})
