"""Events of the runs in training: a worker reports them, and each run's journal keeps its own."""

import msgspec

from engine.core.options import MAX_EPOCHS
from engine.core.results import EpochRow, RunResult
from engine.core.spec import RunSpec
from engine.protocol.message import Event


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
        """Reject an event without exactly one row a run."""
        if not self.runs or len(self.runs) != len(self.rows) or not 1 <= self.epoch <= MAX_EPOCHS:
            raise ValueError(f"an epoch from 1 to {MAX_EPOCHS:,} has one row for each of its runs")

    @property
    def seconds(self) -> float:
        """Wall time of the group's epoch, its evaluation included."""
        return self.rows[0].seconds or 0.0


class CheckpointSaved(Event, frozen=True, kw_only=True):
    """These runs can be resumed from the end of this epoch, even after a crash."""

    runs: tuple[str, ...]
    epoch: int


class RunFinished(Event, frozen=True, kw_only=True):
    """A run's files and its result are on disk."""

    result: RunResult


class RunFailed(Event, frozen=True, kw_only=True):
    """A run ended without a result; it is not tried again until `Resume`. The host tries one that ran `out_of_memory`
    again by itself, with fewer side by side, before it reports that."""

    run_id: str
    reason: str
    out_of_memory: bool = False


class RunInterrupted(Event, frozen=True, kw_only=True):
    """A run stopped at `epoch`, to be resumed from its checkpoint; `reason` says why."""

    run_id: str
    reason: str
    epoch: int = 0


class RunPaused(Event, frozen=True, kw_only=True):
    """A run is held at `epoch` until `Resume`."""

    run_id: str
    epoch: int = 0


Ended = RunFinished | RunFailed | RunInterrupted | RunPaused
"""Events after which a worker no longer has the run."""


def of_lane(event: RunStarted | EpochEnded, lane: int) -> RunStarted | EpochEnded:
    """Return an event of a group as the journal of one of its runs holds it."""
    columns = ("runs", "specs") if isinstance(event, RunStarted) else ("runs", "rows")
    return msgspec.structs.replace(event, **{name: (getattr(event, name)[lane],) for name in columns})
