"""Commands that a client sends to the host, named in the imperative."""

from engine.core.fleet import Fleet
from engine.core.remarks import Statement
from engine.core.sweep import Sweep
from engine.protocol.message import Command
from engine.protocol.run_events import EpochEnded, RunInterrupted, RunStarted


class OpenData(Command, frozen=True, kw_only=True):
    """Make a folder or files the workspace's data; without a source, the last one used, or else demo data."""

    source: tuple[str, ...] = ()
    layout: str = ""
    """The order of the images' axes, such as `NHWC`, where their shape leaves it open."""
    name: str = ""
    """The user's name for it; empty: its folder's name. Paths of a named one may be relative to the workspace."""
    is_beside: bool = False
    """Make it known beside the data in use, which does not change."""
    demo_train: int = 5_000
    demo_test: int = 1_000


class Begin(Command, frozen=True, kw_only=True):
    """Train the runs that wait. Until a client asks for training, a host only reports its state."""


class Submit(Command, frozen=True, kw_only=True):
    """Train what a sweep still lacks."""

    sweep: Sweep
    sources: tuple[str, ...] = ()
    """The texts of the model files that it needs; by sending them the user approves them."""
    source_names: tuple[str, ...] = ()
    """The user's names for these files, for messages."""


class Pause(Command, frozen=True, kw_only=True):
    """Checkpoint these runs and hold them; all of them when none is named."""

    runs: tuple[str, ...] = ()


class Resume(Command, frozen=True, kw_only=True):
    """Resume paused, interrupted or failed runs; all paused ones when none is named."""

    runs: tuple[str, ...] = ()


class Cancel(Command, frozen=True, kw_only=True):
    """Remove these runs from the queue; a running one is checkpointed and stopped."""

    runs: tuple[str, ...] = ()


class Reprioritise(Command, frozen=True, kw_only=True):
    """Move these waiting runs to an index of the queue; 0 is the next run."""

    runs: tuple[str, ...]
    index: int = 0


class Annotate(Command, frozen=True, kw_only=True):
    """Replace a run's note and tags."""

    run_id: str
    text: str = ""
    tags: tuple[str, ...] = ()


class Choose(Command, frozen=True, kw_only=True):
    """Hand in this run's file for a question; without a run, the first seed's."""

    question: str
    run_id: str | None = None


class Judge(Command, frozen=True, kw_only=True):
    """Store a statement of a multiple-choice question, instead of the one that reads `replaces`; None removes that."""

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
    """List the runs in the trash."""


class Watch(Command, frozen=True, kw_only=True):
    """Send the history of these runs."""

    runs: tuple[str, ...]


class WatchDevices(Command, frozen=True, kw_only=True):
    """Sample the load of the GPUs for a minute; while something trains that is done without this command."""


class ReadLog(Command, frozen=True, kw_only=True):
    """Send the end of the log of a run's training, or, of a `file` that is known, what follows the byte `begins`."""

    run_id: str
    file: str = ""
    begins: int = 0


class CheckFiles(Command, frozen=True, kw_only=True):
    """Hash the `model.keras` of these finished runs as it is now; answered by `FilesChecked`."""

    runs: tuple[str, ...]


class Inspect(Command, frozen=True, kw_only=True):
    """Return a finished run's predictions for the test images; without a run, images of a data set."""

    run_id: str = ""
    data: str = ""
    """The fingerprint of the data set; empty: the one in use."""


class Import(Command, frozen=True, kw_only=True):
    """Import the runs of a file that `svhn-tui pack` wrote on another machine."""

    path: str


class SetFleet(Command, frozen=True, kw_only=True):
    """Train with these workers from now on; those that train elsewhere finish what they have."""

    fleet: Fleet
    on_command_line: bool = False
    """The user typed it on the command line, where options of `srun` that run programs are allowed."""


class Report(Command, frozen=True, kw_only=True):
    """Report what happened to a run that this client records and writes: it began, an epoch ended, or it is over.

    `RunInterrupted` reports the end; the run's folder shows whether there is a result.
    """

    event: RunStarted | EpochEnded | RunInterrupted


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
    | WatchDevices
    | ReadLog
    | CheckFiles
    | Inspect
    | Import
    | SetFleet
    | Report
    | Shutdown
)
