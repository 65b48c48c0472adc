"""The state of each run of a workspace, one record a run. Pure.

A run is in one state at a time, and what may be done to it follows from that state alone: a run that a worker has,
begun or not, is the worker's until it is released, so it is neither deleted nor replaced nor given out a second time.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from engine import protocol as p
from engine.core.curve import EMPTY, Curve
from engine.core.results import EpochRow
from engine.core.spec import RunSpec

Hold = Literal["paused", "cancelled"]
"""What the user may ask for a run that is not to be trained now."""
HoldReason = Literal["paused", "cancelled", "failed"]
WHYS: Mapping[str, HoldReason] = {"paused": "paused", "cancelled": "cancelled", "failed": "failed"}
"""Valid reasons by their text in `host.json`, which may hold anything."""


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """It is in the waiting list, which holds its position and whether it is paused."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """It is not to be trained until it is asked for again."""

    why: HoldReason
    reason: str = ""
    """Why it failed, in words."""
    spec: RunSpec | None = None
    """What it trains, of one that failed; None until a sweep asks for it."""


class Finished(msgspec.Struct, frozen=True, gc=False):
    """Its files and its result are on disk."""

    result: p.RunResult


class Assigned:
    """A worker has it. The one record that changes in place, once an epoch."""

    def __init__(self, run: p.WaitingRun, worker: str) -> None:
        self.run = run
        """Its entry in the waiting list."""
        self.worker = worker
        self.stop: Hold | None = None
        """What happens to it when the worker releases it without a result; None: it is trained again."""
        self.started: p.RunStarted | None = None
        """The worker's event that it has begun."""
        self.curve: Curve | None = EMPTY
        """Its curve; None until the epochs before this start have been read from the journal."""
        self._rows: list[EpochRow] = []
        """Rows since this start, as long as the curve is None."""

    def begin(self, started: p.RunStarted) -> None:
        """Record that the worker has begun it."""
        self.started = started
        self.curve = None if started.epoch else EMPTY
        self._rows = []

    def end_epoch(self, event: p.EpochEnded, lane: int) -> None:
        """Add an epoch to its curve, or store its row until the curve is read."""
        if self.curve is None:
            self._rows.append(event.rows[lane])
        else:
            self.curve = self.curve.cut(event.epoch - 1).and_then(event.rows[lane])

    def join(self, before: Curve) -> Curve:
        """Append the rows since this start to the curve before it; return the whole curve."""
        for row in self._rows:
            before = before.and_then(row)
        self.curve, self._rows = before, []
        return before


Record = Waiting | Assigned | Held | Finished
WAITING = Waiting()


class RunStates(Mapping[str, Record]):
    """The records by run_id, and which of them are in training. A run without a record was never asked for."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self._records = dict(records)
        self.training: dict[str, Assigned] = {}
        """The runs that workers have, in the order in which they were assigned."""
        self.accuracies = Accuracies(self._records)

    def __getitem__(self, run_id: str) -> Record:
        """Return the record of a run."""
        return self._records[run_id]

    def __iter__(self) -> Iterator[str]:
        """Go through all run_ids."""
        return iter(self._records)

    def __len__(self) -> int:
        """Count all runs."""
        return len(self._records)

    def put(self, run_id: str, record: Record | None) -> None:
        """Set the record of a run; None forgets it."""
        self.training.pop(run_id, None)
        if record is None:
            self._records.pop(run_id, None)
            return
        self._records[run_id] = record
        if isinstance(record, Assigned):
            self.training[run_id] = record

    def refuse_training(self, runs: Iterable[str], what: str) -> None:
        """Check that no worker has these runs, begun or not.

        Args:
            runs: the runs.
            what: what is to be done to them, as in `deleted`.

        Raises:
            ValueError: a worker has one of them, and may write its files.
        """
        if busy := [run_id for run_id in runs if run_id in self.training]:
            is_leaving = all(self.training[run_id].stop for run_id in busy)
            advice = "it is being stopped; try again in a moment" if is_leaving else "stop it first"
            raise ValueError(f"A run in training cannot be {what}; {advice}.")

    @property
    def held(self) -> dict[str, HoldReason]:
        """Why each held run is held; such runs are neither waiting nor with a worker."""
        return {run_id: record.why for run_id, record in self._records.items() if isinstance(record, Held)}

    @property
    def failed(self) -> dict[str, tuple[RunSpec, str]]:
        """Return what each failed run trains, and why it failed."""
        records = ((run_id, record) for run_id, record in self._records.items() if isinstance(record, Held))
        return {run_id: (record.spec, record.reason)
                for run_id, record in records if record.why == "failed" and record.spec is not None}  # fmt: skip

    @property
    def reasons(self) -> dict[str, tuple[str, ...]]:
        """The runs that failed for each reason: a model that cannot be built has many."""
        runs: dict[str, list[str]] = {}
        for run_id, record in self._records.items():
            if isinstance(record, Held) and record.reason:
                runs.setdefault(record.reason, []).append(run_id)
        return {reason: tuple(some) for reason, some in runs.items()}

    def name_failed(self, specs: Mapping[str, RunSpec]) -> None:
        """Record what those of these runs train that failed."""
        for run_id, spec in specs.items():
            record = self._records.get(run_id)
            if isinstance(record, Held) and record.why == "failed" and record.spec is None:
                self._records[run_id] = msgspec.structs.replace(record, spec=spec)

    @property
    def results(self) -> tuple[p.RunResult, ...]:
        """All finished runs."""
        return tuple(record.result for record in self._records.values() if isinstance(record, Finished))


class Accuracies(Mapping[str, float]):
    """The test accuracy of each finished run, read from its record."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self._records = records

    def __getitem__(self, run_id: str) -> float:
        """Return a finished run's accuracy."""
        record = self._records[run_id]
        if not isinstance(record, Finished):
            raise KeyError(run_id)
        return record.result.accuracy_or_nan

    def __contains__(self, run_id: object) -> bool:
        """Say whether a run is finished."""
        return isinstance(self._records.get(run_id), Finished)  # type: ignore[call-overload]

    def __iter__(self) -> Iterator[str]:
        """Go through the finished runs."""
        return (run_id for run_id, record in self._records.items() if isinstance(record, Finished))

    def __len__(self) -> int:
        """Count the finished runs."""
        return sum(1 for _ in self)
