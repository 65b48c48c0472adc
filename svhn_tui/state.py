"""What the screen and the command line know: a pure fold of the engine's events into frozen values."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, reduce
from typing import TypeVar, assert_never

import msgspec

from engine import protocol as p
from engine.forecast import Forecast
from engine.plan import Sweep, is_other_choice
from engine.spec import RunSpec


class Live(msgspec.Struct, frozen=True):
    """A run that is not finished but has begun; `status` is `running`, `paused`, `interrupted` or `failed`."""

    spec: RunSpec
    status: str = "running"
    group: str = ""
    worker: str = ""
    device: str = ""
    history: p.History = p.History()
    images_per_second: float = 0.0
    """Of the whole group, in the epoch before."""
    reason: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Forecast from the last five epochs; None before the first has ended."""
        recent = [seconds for seconds in self.history.seconds[-5:] if math.isfinite(seconds)]
        if not recent:
            return None
        return (self.spec.configuration.training.epochs - self.history.epochs) * sum(recent) / len(recent)


class Results(dict[str, p.RunResult]):
    """Finished runs by their names, and what is worked out from them once however often it is asked for.

    Never changed in place: pages ask eleven questions of ten thousand runs several times a second.
    """

    @cached_property
    def accuracies(self) -> Mapping[str, float]:
        """Test accuracy of each run."""
        return {run_id: result.test_accuracy for run_id, result in self.items()}

    @cached_property
    def by_layers(self) -> Mapping[tuple[int, ...], Sequence[p.RunResult]]:
        """The runs of networks with these hidden layers, whatever else they have."""
        found: dict[tuple[int, ...], list[p.RunResult]] = {}
        for result in self.values():
            found.setdefault(result.spec.configuration.network.hidden, []).append(result)
        return found


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot. Mappings are never changed in place: an event that touches one makes a new one."""

    workspace: str = ""
    versions: Mapping[str, str] = {}
    connected: bool = False
    caught_up: bool = False
    data: p.DataSet | None = None
    results: Results = msgspec.field(default_factory=Results)
    notes: Mapping[str, p.Note] = {}
    live: Mapping[str, Live] = {}
    queue: tuple[p.Place, ...] = ()
    histories: Mapping[str, p.History] = {}
    """Of finished runs, as far as they were asked for."""
    damaged_lines: Mapping[str, int] = {}
    files: Mapping[str, str | None] = {}
    """SHA-256 of the `model.keras` of finished runs as last looked at; None where the file is gone."""
    inspected: Mapping[str, p.Inspected] = {}
    """By run; under the empty name, images of the data in use."""
    sweeps: Mapping[str, Sweep] = {}
    fleet: p.Fleet = p.Fleet()
    workers: Mapping[str, p.WorkerChanged] = {}
    devices: tuple[p.DeviceSample, ...] = ()
    times: tuple[p.EpochTime, ...] = ()
    choices: Mapping[str, str] = {}
    statements: Mapping[str, tuple[p.Statement, ...]] = {}
    notices: tuple[p.Noticed, ...] = ()
    refusal: p.Refused | None = None

    @property
    def accuracies(self) -> Mapping[str, float]:
        """Test accuracy of each finished run, by run_id."""
        return self.results.accuracies

    @property
    def running(self) -> dict[str, Live]:
        """The runs that are being trained."""
        return {run_id: live for run_id, live in self.live.items() if live.status == "running"}

    @property
    def forecast(self) -> Forecast | None:
        """How long runs on the data in use will take."""
        data = self.data
        return Forecast(self.times, data.train_images, data.input_shape) if data else None

    def as_chosen(self, sweep: Sweep) -> Sweep:
        """Return the sweep with the finalists that were chosen by hand, where that was done."""
        return next((some for some in self.sweeps.values() if is_other_choice(some, sweep)), sweep)

    def history(self, run_id: str) -> p.History:
        """Return what is known of a run's metrics, live or finished."""
        live = self.live.get(run_id)
        return live.history if live else self.histories.get(run_id, p.History())


V = TypeVar("V")
NOTICES_KEPT = 50


def apply(state: State, event: p.AnyEvent) -> State:
    """Return the state after the event."""
    change = msgspec.structs.replace
    match event:
        case p.Attached():  # everything is told anew; histories of finished runs stay true
            return State(
                workspace=event.workspace,
                versions=event.versions,
                connected=True,
                data=event.data,
                choices=event.choices,
                statements=event.statements,
                histories=state.histories,
                notices=state.notices,
            )
        case p.RunsRead():
            results = Results(state.results) if event.results else state.results
            results.update((result.run_id, result) for result in event.results)
            return change(state, results=results, notes={**state.notes, **{note.run_id: note for note in event.notes}})
        case p.CaughtUp():
            return change(state, caught_up=True)
        case p.DataOpened():
            return change(state, data=event.data, inspected=_without(state.inspected, ""))
        case p.SweepSubmitted():
            kept = {key: some for key, some in state.sweeps.items() if not is_other_choice(some, event.sweep)}
            return change(state, sweeps={**kept, event.sweep.sweep_id: event.sweep})
        case p.QueueChanged():
            return change(state, queue=event.places)
        case p.RunQueued():
            waiting = tuple(place for place in state.queue if place.run_id != event.place.run_id)
            return change(state, queue=(*waiting, event.place))
        case p.FleetChanged():
            return change(state, fleet=event.fleet)
        case p.WorkerChanged():
            return change(state, workers={**state.workers, event.worker: event})
        case p.RunStarted():
            return _started(state, event)
        case p.EpochEnded():
            return _epoch_ended(state, event)
        case p.CheckpointSaved():
            return state
        case p.HostEnded():
            return change(state, connected=False)
        case p.RunFinished():
            return _finished(state, event.result)
        case p.RunFailed():
            return _stopped(state, event.run_id, "failed", event.reason)
        case p.RunInterrupted():
            return _stopped(state, event.run_id, "interrupted", event.reason)
        case p.RunPaused():
            return _stopped(state, event.run_id, "paused")
        case p.RunDeleted():
            return change(
                state,
                results=Results(_without(state.results, event.run_id)),
                live=_without(state.live, event.run_id),
                notes=_without(state.notes, event.run_id),
                queue=tuple(place for place in state.queue if place.run_id != event.run_id),
            )
        case p.NoteChanged():
            return change(state, notes={**state.notes, event.note.run_id: event.note})
        case p.ChoiceChanged():
            others = _without(state.choices, event.question)
            return change(state, choices={**others, event.question: event.run_id} if event.run_id else others)
        case p.Judged():
            return change(state, statements={**state.statements, event.question: event.statements})
        case p.HistoryRead():
            return _history_read(state, event)
        case p.FilesChecked():
            return change(state, files={**state.files, **event.found})
        case p.Inspected():
            return change(state, inspected={**state.inspected, event.run_id: event})
        case p.TrashRead():
            return state  # shown at once, not kept
        case p.Imported():
            return state  # the runs were told one by one
        case p.DeviceSampled():
            return change(state, devices=event.samples)
        case p.Timed():
            return change(state, times=event.times)
        case p.Noticed():
            return change(state, notices=(*state.notices, event)[-NOTICES_KEPT:])
        case p.Refused():
            return change(state, refusal=event)
    assert_never(event)


def fold(events: tuple[p.AnyEvent, ...], state: State | None = None) -> State:
    """Return the state after all of the events."""
    return reduce(apply, events, state or State())


def _started(state: State, event: p.RunStarted) -> State:
    begun = {}
    for run_id, spec in zip(event.runs, event.specs, strict=True):
        known = cut(state.history(run_id), event.epoch)
        begun[run_id] = Live(spec, "running", event.group, event.worker, event.device, known)
    queue = tuple(place for place in state.queue if place.run_id not in begun)
    return msgspec.structs.replace(state, live={**state.live, **begun}, queue=queue)


def _epoch_ended(state: State, event: p.EpochEnded) -> State:
    after = {}
    for lane, run_id in enumerate(event.runs):
        live = state.live.get(run_id)
        if live is None:
            continue  # deleted a moment ago
        known = cut(live.history, event.epoch - 1)
        values = (event.loss[lane], event.accuracy[lane], event.test_loss[lane], event.test_accuracy[lane])
        history = p.extended(known, values, event.seconds)
        after[run_id] = msgspec.structs.replace(
            live, status="running", history=history, images_per_second=event.images_per_second
        )
    return msgspec.structs.replace(state, live={**state.live, **after})


def _finished(state: State, result: p.RunResult) -> State:
    history = state.history(result.run_id)
    histories = {**state.histories, result.run_id: history} if history.epochs else state.histories
    return msgspec.structs.replace(
        state,
        results=Results({**state.results, result.run_id: result}),
        histories=histories,
        live=_without(state.live, result.run_id),
        queue=tuple(place for place in state.queue if place.run_id != result.run_id),
    )


def _stopped(state: State, run_id: str, status: str, reason: str = "") -> State:
    live = state.live.get(run_id)
    if live is None:
        place = next((place for place in state.queue if place.run_id == run_id), None)
        if place is None:
            return state
        live = Live(place.spec)
    stopped = msgspec.structs.replace(live, status=status, reason=reason)
    return msgspec.structs.replace(state, live={**state.live, run_id: stopped})


def _history_read(state: State, event: p.HistoryRead) -> State:
    damaged = {**state.damaged_lines, event.run_id: event.damaged_lines} if event.damaged_lines else state.damaged_lines
    live = state.live.get(event.run_id)
    if live is None:
        histories = {**state.histories, event.run_id: event.history}
        return msgspec.structs.replace(state, histories=histories, damaged_lines=damaged)
    read = msgspec.structs.replace(live, history=event.history)
    return msgspec.structs.replace(state, live={**state.live, event.run_id: read}, damaged_lines=damaged)


def cut(history: p.History, epochs: int) -> p.History:
    """Return the history up to this epoch; one that is shorter is filled with gaps, so epochs stay in their place."""
    if history.epochs == epochs:
        return history
    gap = (None,) * (epochs - history.epochs)
    return p.History(
        history.loss[:epochs] + gap,
        history.accuracy[:epochs] + gap,
        history.test_loss[:epochs] + gap,
        history.test_accuracy[:epochs] + gap,
        history.seconds[:epochs] + (math.nan,) * len(gap),
    )


def _without(mapping: Mapping[str, V], key: str) -> dict[str, V]:
    return {name: value for name, value in mapping.items() if name != key}
