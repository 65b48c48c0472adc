"""The reducer: it makes the next state from a state and an event. Pure."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import assert_never

import msgspec

from engine import protocol as p
from engine.core.curve import Curve
from engine.core.sweep import is_other_choice
from svhn_tui.client.edits import Edits
from svhn_tui.client.state import Live, State

MAX_NOTICES = 50
MAX_LOG_CHARACTERS = 1_000_000
"""Most characters of a log that grows while it is shown."""
MAX_HISTORIES = 2_000
"""Most curves of runs that finished while this client was attached; others are requested when they are needed."""


def apply(state: State, event: p.AnyEvent, edits: Edits | None = None) -> State:
    """Return the state after the event. With the `edits` of a batch, only the batch's last state is immutable."""
    change, edits = msgspec.structs.replace, edits or Edits()
    match event:
        case p.Attached():
            return _attached(state, event)
        case p.RunsRead():
            return _runs_read(state, event, edits)
        case p.CaughtUp():
            return change(state, caught_up=True)
        case p.DataOpened():
            return _data_opened(state, event, edits)
        case p.SweepSubmitted():
            return _sweep_submitted(state, event)
        case p.RunsQueued():
            return _queued(state, event, edits)
        case p.RunsUnqueued():
            return _unqueued(state, event, edits)
        case p.RunsHeld():
            return _held(state, event, edits)
        case p.TrialStarted():
            return change(state, trials={**state.trials, (event.model, event.data): event})
        case p.ModelTried():
            return _model_tried(state, event)
        case p.FleetChanged():
            return change(state, fleet=event.fleet)
        case p.WorkerChanged():
            return change(state, workers=edits.more(state.workers, {event.worker: event}))
        case p.RunStarted():
            return _started(state, event, edits)
        case p.EpochEnded():
            return _epoch_ended(state, event, edits)
        case p.HostEnded():
            return change(state, connected=False, lost_because=event.reason)
        case p.RunFinished():
            return _finished(state, event.result, edits)
        case p.RunFailed():
            return _stopped(state, event.run_id, edits, "failed", event.reason)
        case p.RunInterrupted():
            return _stopped(state, event.run_id, edits, "interrupted", event.reason)
        case p.RunPaused():
            return _stopped(state, event.run_id, edits, "paused")
        case p.RunDeleted():
            return _deleted(state, event.run_id, edits)
        case p.NoteChanged():
            return change(state, notes=edits.more(state.notes, {event.note.run_id: event.note}))
        case p.ChoiceChanged():
            return _choice_changed(state, event, edits)
        case p.Judged():
            return change(state, statements=edits.more(state.statements, {event.question: event.statements}))
        case p.HistoryRead():
            return _history_read(state, event, edits)
        case p.FilesChecked():
            return _files_checked(state, event, edits)
        case p.LogRead():
            return change(state, log=_longer(state.log, event))
        case p.Inspected():
            return change(state, inspected=edits.more(state.inspected, {event.run_id or event.data: event}))
        case p.DeviceSampled():
            return change(state, devices=event.samples)
        case p.Timed():
            return change(state, times=event.times)
        case p.Noticed():
            return change(state, notices=(*state.notices, event)[-MAX_NOTICES:])
        case p.RunsCancelled() | p.CheckpointSaved() | p.TrashRead() | p.Imported() | p.Refused() | p.Done():
            return state  # shown when they arrive, or a reply to the client that waits for it
    assert_never(event)


def fold(events: Iterable[p.AnyEvent], state: State | None = None) -> State:
    """Return the state after all of the events."""
    state, edits = state or State(), Edits()
    for event in events:
        state = apply(state, event, edits)
    return state


# --- a function for each event that changes more than one thing -------------------------------------------------------


def _attached(state: State, event: p.Attached) -> State:
    """Begin anew: everything is sent again, while the curves of finished runs stay valid."""
    return State(
        workspace=event.workspace,
        versions=event.versions,
        connected=True,
        has_begun=event.has_begun,
        data=event.data,
        known={data.fingerprint: data for data in event.known},
        choices=event.choices,
        statements=event.statements,
        histories=state.histories,
        last_group=state.last_group,
        notices=state.notices,
    )


def _runs_read(state: State, event: p.RunsRead, edits: Edits) -> State:
    return msgspec.structs.replace(
        state,
        results=edits.more(state.results, {result.run_id: result for result in event.results}),
        notes=edits.more(state.notes, {note.run_id: note for note in event.notes}),
    )


def _data_opened(state: State, event: p.DataOpened, edits: Edits) -> State:
    fingerprint = event.data.fingerprint
    known = {**edits.less(state.known, fingerprint), fingerprint: event.data}
    if event.is_beside and state.data is not None and state.data.fingerprint != fingerprint:
        return msgspec.structs.replace(state, known=known)
    inspected = edits.less(state.inspected, "")
    return msgspec.structs.replace(state, data=event.data, known=known, data_is_open=True, inspected=inspected)


def _sweep_submitted(state: State, event: p.SweepSubmitted) -> State:
    sweeps = {key: some for key, some in state.sweeps.items() if not is_other_choice(some, event.sweep)}
    return msgspec.structs.replace(state, sweeps={**sweeps, event.sweep.sweep_id: event.sweep})


def _queued(state: State, event: p.RunsQueued, edits: Edits) -> State:
    runs = [run.run_id for run in event.waiting]
    again = (run_id for run_id in runs if (live := state.live.get(run_id)) and live.status == "failed")
    return msgspec.structs.replace(
        state,
        waiting=_inserted(state.waiting, event, edits),
        assigned=edits.less(state.assigned, *runs),
        live=edits.less(state.live, *again),
    )


def _inserted(waiting: Mapping[str, p.WaitingRun], event: p.RunsQueued, edits: Edits) -> Mapping[str, p.WaitingRun]:
    """Return the waiting runs with new ones at the event's index, or at the end."""
    new = {run.run_id: run for run in event.waiting}
    others = edits.less(waiting, *new)
    if event.index is None or event.index >= len(others):
        return edits.more(others, new)
    behind = dict(islice(others.items(), event.index, None))
    return edits.more(edits.more(edits.less(others, *behind), new), behind)


def _unqueued(state: State, event: p.RunsUnqueued, edits: Edits) -> State:
    assigned = {run_id: run for run_id in event.runs if event.worker and (run := state.waiting.get(run_id))}
    return msgspec.structs.replace(
        state, waiting=edits.less(state.waiting, *event.runs), assigned=edits.more(state.assigned, assigned)
    )


def _held(state: State, event: p.RunsHeld, edits: Edits) -> State:
    runs = (run for run_id in event.runs if (run := state.waiting.get(run_id)))
    held = {run.run_id: msgspec.structs.replace(run, paused=event.paused) for run in runs}
    return msgspec.structs.replace(state, waiting=edits.more(state.waiting, held))


def _model_tried(state: State, event: p.ModelTried) -> State:
    key = event.model, event.data
    trials = {tried: trial for tried, trial in state.trials.items() if tried != key}
    return msgspec.structs.replace(state, models={**state.models, key: event.facts}, trials=trials)


def _deleted(state: State, run_id: str, edits: Edits) -> State:
    return msgspec.structs.replace(
        state,
        results=edits.less(state.results, run_id),
        live=edits.less(state.live, run_id),
        assigned=edits.less(state.assigned, run_id),
        notes=edits.less(state.notes, run_id),
        waiting=edits.less(state.waiting, run_id),
    )


def _choice_changed(state: State, event: p.ChoiceChanged, edits: Edits) -> State:
    others = edits.less(state.choices, event.question)
    choices = edits.more(others, {event.question: event.run_id} if event.run_id else {})
    return msgspec.structs.replace(state, choices=choices)


def _files_checked(state: State, event: p.FilesChecked, edits: Edits) -> State:
    return msgspec.structs.replace(
        state,
        files=edits.more(edits.less(state.files, *event.unreadable), event.hashes),
        unreadable=edits.more(edits.less(state.unreadable, *event.hashes), event.unreadable),
    )


def _started(state: State, event: p.RunStarted, edits: Edits) -> State:
    begun = {}
    for run_id, spec in zip(event.runs, event.specs, strict=True):
        known = state.history(run_id).cut(event.epoch)
        begun[run_id] = Live(spec, "running", event.group, event.worker, event.device, known)
    live, waiting = edits.more(state.live, begun), edits.less(state.waiting, *begun)
    assigned = edits.less(state.assigned, *begun)
    members = tuple(dict.fromkeys((*state.groups.get(event.group, ()), *begun)))
    groups = edits.more(state.groups, {event.group: members})
    return msgspec.structs.replace(state, live=live, waiting=waiting, assigned=assigned, groups=groups)


def _with_last_group(state: State, run_id: str, edits: Edits) -> State:
    """Store the group of a run that has just ended, if the run was the last of its group."""
    group = next((name for name, runs in state.groups.items() if run_id in runs), None)
    runs = state.groups.get(group or "", ())
    if group is None or any((live := state.live.get(some)) and live.status == "running" for some in runs):
        return state
    return msgspec.structs.replace(state, groups=edits.less(state.groups, group), last_group=runs)


def _epoch_ended(state: State, event: p.EpochEnded, edits: Edits) -> State:
    after = {}
    for run_id, row in zip(event.runs, event.rows, strict=True):
        live = state.live.get(run_id)
        if live is None:
            continue  # deleted a moment ago
        known = live.history.cut(event.epoch - 1).and_then(row)
        after[run_id] = msgspec.structs.replace(
            live, status="running", history=known, images_per_second=event.images_per_second
        )
    return msgspec.structs.replace(state, live=edits.more(state.live, after))


def _finished(state: State, result: p.RunResult, edits: Edits) -> State:
    run_id = result.run_id
    history, histories = state.history(run_id), state.histories
    if history.epochs:
        histories = edits.more(histories, {run_id: history})
        histories = edits.less(histories, *islice(histories, max(0, len(histories) - MAX_HISTORIES)))
    after = msgspec.structs.replace(
        state,
        results=edits.more(state.results, {run_id: result}),
        histories=histories,
        live=edits.less(state.live, run_id),
        waiting=edits.less(state.waiting, run_id),
        assigned=edits.less(state.assigned, run_id),
    )
    return _with_last_group(after, run_id, edits)


def _stopped(state: State, run_id: str, edits: Edits, status: str, reason: str = "") -> State:
    live = state.live.get(run_id)
    if live is None:
        run = state.waiting.get(run_id) or state.assigned.get(run_id)
        if run is None:
            return state
        live = Live(run.spec)
    stopped = msgspec.structs.replace(live, status=status, reason=reason)
    after = msgspec.structs.replace(
        state, live=edits.more(state.live, {run_id: stopped}), assigned=edits.less(state.assigned, run_id)
    )
    return _with_last_group(after, run_id, edits)


def _longer(before: p.LogRead | None, event: p.LogRead) -> p.LogRead:
    """Append the new part of a log to the part that was read before; only the end of a long log is kept."""
    is_next = before is not None and (before.run_id, before.file, before.ends) == (
        event.run_id, event.file, event.begins
    )  # fmt: skip
    if before is None or not is_next or not before.text:
        return event
    if not event.text:
        return before
    text, begins = before.text + event.text, before.begins
    if len(text) > MAX_LOG_CHARACTERS:
        cut_at = text.find("\n", len(text) - MAX_LOG_CHARACTERS) + 1
        begins += len(text[:cut_at].encode())
        text = text[cut_at:]
    return msgspec.structs.replace(event, text=text, begins=begins)


def _history_read(state: State, event: p.HistoryRead, edits: Edits) -> State:
    curve = Curve.of(event.history.rows)
    lines, live = {event.run_id: event.damaged_lines}, state.live.get(event.run_id)
    damaged = edits.more(state.damaged_lines, lines if event.damaged_lines else {})
    unread = edits.more(edits.less(state.unread, event.run_id), {event.run_id: event.problem} if event.problem else {})
    state = msgspec.structs.replace(state, damaged_lines=damaged, unread=unread)
    if live is None:
        histories = edits.more(state.histories, {event.run_id: curve})
        return msgspec.structs.replace(state, histories=histories)
    read = {event.run_id: msgspec.structs.replace(live, history=curve)}
    return msgspec.structs.replace(state, live=edits.more(state.live, read))
