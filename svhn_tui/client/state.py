"""The state of a workspace as the screen and the command line know it, frozen; `fold` makes it from events. Pure."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Self

import msgspec

from engine import protocol as p
from engine.core.curve import EMPTY, Curve
from engine.core.data_shape import ASSIGNMENT, ASSIGNMENT_IMAGES, DataShape
from engine.core.forecast import Forecast
from engine.core.layers import trainable_parameters
from engine.core.own_model import ModelFacts
from engine.core.spec import Network, OwnModel, RunSpec
from engine.core.sweep import Sweep, is_other_choice


class Live(msgspec.Struct, frozen=True):
    """A run that is not finished but has begun; `status` is `running`, `paused`, `interrupted` or `failed`."""

    spec: RunSpec
    status: str = "running"
    group: str = ""
    worker: str = ""
    device: str = ""
    history: Curve = EMPTY
    images_per_second: float = 0.0
    """Training speed of the whole group in the latest epoch."""
    reason: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Forecast from the last five epochs; None before the first has ended."""
        recent = [row.seconds for row in self.history.rows[-5:] if row.seconds is not None]
        if not recent:
            return None
        return (self.spec.configuration.training.epochs - self.history.epochs) * sum(recent) / len(recent)


class Results(dict[str, p.RunResult]):
    """Finished runs by run_id, and values that are computed from them once.

    Never changed in place: pages ask eleven questions of ten thousand runs several times a second.
    """

    @cached_property
    def accuracies(self) -> Mapping[str, float]:
        """Test accuracy of each run."""
        return {run_id: result.accuracy_or_nan for run_id, result in self.items()}

    @cached_property
    def by_layers(self) -> Mapping[tuple[int, ...], Sequence[p.RunResult]]:
        """The runs by the hidden layers of their networks, whatever else they have."""
        groups: dict[tuple[int, ...], list[p.RunResult]] = {}
        for result in self.values():
            groups.setdefault(result.spec.configuration.network.hidden, []).append(result)
        return groups


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of the workspace. Mappings are never changed in place: an event that changes one makes a new one."""

    workspace: str = ""
    versions: Mapping[str, str] = {}
    connected: bool = False
    lost_because: str = ""
    """Why the connection was lost, in a sentence, if that is known."""
    caught_up: bool = False
    has_begun: bool = True
    """Whether the host trained the waiting runs when this client attached; otherwise it only reported them."""
    data: p.DataSet | None = None
    known: Mapping[str, p.DataSet] = {}
    """All data sets that runs can be trained on, by fingerprint; the one opened last at the end."""
    data_is_open: bool = False
    """Whether the data in use is what this client requested, and not only what was in use before."""
    results: Results = msgspec.field(default_factory=Results)
    notes: Mapping[str, p.Note] = {}
    live: Mapping[str, Live] = {}
    groups: Mapping[str, tuple[str, ...]] = {}
    """The runs of each group in training, including those that left it."""
    last_group: tuple[str, ...] = ()
    """The runs of the group that ended last while this client was attached."""
    waiting: Mapping[str, p.WaitingRun] = {}
    """The queue by run_id, next run first."""
    assigned: Mapping[str, p.WaitingRun] = {}
    """Runs that a worker has and has not begun: it starts, loads the data, or builds their networks."""
    histories: Mapping[str, Curve] = {}
    """Curves of finished runs that were requested."""
    damaged_lines: Mapping[str, int] = {}
    """Number of damaged lines in the journal of a run, where there are any."""
    unread: Mapping[str, str] = {}
    """Why the journal of a run could not be read at all."""
    files: Mapping[str, str | None] = {}
    """SHA-256 of the `model.keras` of finished runs when they were last read; None if the file is missing."""
    unreadable: Mapping[str, str] = {}
    """Why the `model.keras` of a finished run could not be read last."""
    log: p.LogRead | None = None
    """The log that was requested last; of a long one its end."""
    inspected: Mapping[str, p.Inspected] = {}
    """Inspections by run_id; those of a data set by its fingerprint, that of the one in use under the empty text."""
    sweeps: Mapping[str, Sweep] = {}
    models: Mapping[tuple[OwnModel, str], ModelFacts] = {}
    """Outcomes of trials of own models, by model and the data set's fingerprint."""
    trials: Mapping[tuple[OwnModel, str], p.TrialStarted] = {}
    """Trials of own models that were started and have no outcome; see `trying`."""
    fleet: p.Fleet = p.Fleet()
    workers: Mapping[str, p.WorkerChanged] = {}
    devices: tuple[p.DeviceSample, ...] = ()
    times: tuple[p.EpochTime, ...] = ()
    choices: Mapping[str, str] = {}
    statements: Mapping[str, tuple[p.Statement, ...]] = {}
    notices: tuple[p.Noticed, ...] = ()

    @property
    def lacking(self) -> str:
        """The sentence of a page that has nothing to show yet: what it waits for, or why the connection was lost."""
        return "Opening the data…" if self.connected else self.lost_because or "Starting the engine…"

    def on(self, name: str) -> Self:
        """Return the state for a question about the data set of this name; without a name, the one in use."""
        if not name:
            return self
        known = self.known.values()
        named = [data for data in known if data.name == name] or [data for data in known if name in data.other_names]
        return msgspec.structs.replace(self, data=named[-1] if named else None)

    def about(self, fingerprint: str) -> Self:
        """Return the state for runs on the data with this fingerprint, where that is known."""
        data = self.known.get(fingerprint)
        return msgspec.structs.replace(self, data=data) if data is not None and data != self.data else self

    @property
    def shape(self) -> DataShape:
        """The shape of the data in use; the assignment's as long as none is open."""
        return self.data.shape if self.data else ASSIGNMENT

    @property
    def train_images(self) -> int:
        """Number of training images of the data in use."""
        return self.data.train_images if self.data else ASSIGNMENT_IMAGES

    @property
    def accuracies(self) -> Mapping[str, float]:
        """Test accuracy of each finished run, by run_id."""
        return self.results.accuracies

    @property
    def running(self) -> dict[str, Live]:
        """The runs that are being trained."""
        return {run_id: live for run_id, live in self.live.items() if live.status == "running"}

    @property
    def queue(self) -> tuple[p.WaitingRun, ...]:
        """The waiting runs, next run first."""
        return tuple(self.waiting.values())

    @property
    def trying(self) -> tuple[p.TrialStarted, ...]:
        """The trials that waiting runs need; one that none needs any more was cancelled."""
        if not self.trials:
            return ()
        needed = {(run.spec.configuration.network.model, run.spec.data)
                  for run in self.waiting.values() if not run.paused}  # fmt: skip
        return tuple(trial for key, trial in self.trials.items() if key in needed)

    @property
    def forecast(self) -> Forecast | None:
        """Forecast for runs on the data in use; None while no data is open."""
        data = self.data
        if data is None:
            return None
        devices = {worker.device for worker in self.workers.values() if worker.state != "ended" and worker.device}
        return Forecast(self.times, data.train_images, data.shape, devices)

    def parameters_of(self, network: Network) -> int:
        """Return the trainable parameters for the data in use; 0 for an own model that was not built yet."""
        data = self.data
        if network.model is None:
            return trainable_parameters(network, self.shape)
        known = self.models.get((network.model, data.fingerprint if data else ""), ModelFacts())
        built = (run.trainable_parameters for run in self.results.values() if run.spec.configuration.network == network)
        return known.parameters or next(built, 0)

    def is_to_come(self, run_id: str) -> bool:
        """Say whether a run trains, trained in part, or waits."""
        return any(run_id in known for known in (self.live, self.assigned, self.waiting))

    @property
    def seconds_waiting(self) -> float:
        """Forecast for all waiting runs that are not paused, in seconds; 0 while no data is open."""
        forecast = self.forecast
        waiting = (run.spec.configuration for run in self.waiting.values() if not run.paused)
        return forecast.total_seconds(waiting) if forecast else 0.0

    def as_chosen(self, sweep: Sweep) -> Sweep:
        """Return the sweep with the finalists that were chosen by hand, where there are such."""
        return next((some for some in self.sweeps.values() if is_other_choice(some, sweep)), sweep)

    def history(self, run_id: str) -> Curve:
        """Return the known part of a run's curve, whether it is in training or finished."""
        live = self.live.get(run_id)
        return live.history if live else self.histories.get(run_id, EMPTY)
