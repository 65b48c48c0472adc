"""The fold of events: what the screen knows is what was told, in whatever order things die and come back."""

import msgspec

from engine import protocol as p
from engine.core.curve import EMPTY
from engine.core.own_model import ModelFacts
from engine.core.spec import Configuration, Network, OwnModel, RunSpec
from engine.core.sweep import Sweep
from svhn_tui.client.edits import Edits
from svhn_tui.client.reducer import apply, fold
from svhn_tui.client.state import State
from tests.support.epochs import epoch_ended, losses

SPEC = RunSpec(Configuration(Network((256,), "relu")), 0, "data")
OTHER = RunSpec(Configuration(Network((256,), "relu")), 1, "data")


def started(*specs: RunSpec, epoch: int = 0) -> p.RunStarted:
    ids = tuple(spec.run_id for spec in specs)
    return p.RunStarted(group="g", runs=ids, specs=specs, worker="w0", device="cpu", epoch=epoch)


def ended(epoch: int, *values: float | None, specs: tuple[RunSpec, ...] = (SPEC,)) -> p.EpochEnded:
    return epoch_ended(
        runs=tuple(spec.run_id for spec in specs),
        epoch=epoch,
        loss=values,
        accuracy=values,
        test_loss=values,
        test_accuracy=(0.5,) * len(values),
        seconds=2.0,
        images_per_second=1e5,
    )


def result_of(spec: RunSpec) -> p.RunResult:
    return p.RunResult(
        run_id=spec.run_id,
        spec=spec,
        trainable_parameters=789_258,
        test_correct=55,
        test_images=100,
        test_accuracy=0.55,
        test_loss=1.0,
        accuracy=0.6,
        loss=0.9,
        best_test_accuracy=0.56,
        best_epoch=90,
        seconds=10.0,
        started_at=1.0,
        finished_at=2.0,
        model_sha256="00",
        model_bytes=1,
        device="cpu",
        versions={},
    )


def waiting_run(spec: RunSpec) -> p.WaitingRun:
    return p.WaitingRun(spec.run_id, spec, "sweep", "Q7")


def test_lanes_of_a_group_keep_their_own_curves():
    state = fold(
        (started(SPEC, OTHER), ended(1, 3.0, 4.0, specs=(SPEC, OTHER)), ended(2, 2.0, None, specs=(SPEC, OTHER)))
    )
    assert losses(state.history(SPEC.run_id)) == (3.0, 2.0)
    assert losses(state.history(OTHER.run_id)) == (4.0, None)
    assert state.live[SPEC.run_id].seconds_left == 98 * 2.0


def test_an_epoch_trained_again_after_a_resume_replaces_the_first():
    events = (started(SPEC), ended(1, 3.0), ended(2, 2.0), ended(3, 1.0), started(SPEC, epoch=1), ended(2, 2.5))
    assert losses(fold(events).history(SPEC.run_id)) == (3.0, 2.5)


def test_epochs_that_were_missed_are_gaps():
    state = fold((started(SPEC), ended(3, 1.0)))
    assert losses(state.history(SPEC.run_id)) == (None, None, 1.0)
    assert state.live[SPEC.run_id].seconds_left == 97 * 2.0


def test_a_run_moves_from_the_queue_through_training_to_the_results():
    state = fold((p.RunsQueued(waiting=(waiting_run(SPEC), waiting_run(OTHER))),))
    assert [waiting.run_id for waiting in state.queue] == [SPEC.run_id, OTHER.run_id]
    state = fold((started(SPEC), ended(1, 3.0)), state)
    assert [waiting.run_id for waiting in state.queue] == [OTHER.run_id]
    assert set(state.running) == {SPEC.run_id}
    state = apply(state, p.RunFinished(result=result_of(SPEC)))
    assert not state.live
    assert state.accuracies == {SPEC.run_id: 0.55}
    assert losses(state.history(SPEC.run_id)) == (3.0,), "the curve stays when the run is finished"


def test_a_run_that_stopped_says_why_and_keeps_its_curve():
    state = fold((started(SPEC), ended(1, 3.0), p.RunFailed(run_id=SPEC.run_id, reason="out of memory")))
    assert state.live[SPEC.run_id].status == "failed"
    assert state.live[SPEC.run_id].reason == "out of memory"
    assert losses(state.history(SPEC.run_id)) == (3.0,)
    assert not state.running
    again = apply(state, p.RunsQueued(waiting=(waiting_run(SPEC),)))
    assert not again.live, "it is asked for again"


def test_deleting_leaves_nothing_behind():
    note = p.Note(SPEC.run_id, "odd", ("final",))
    state = fold((p.RunFinished(result=result_of(SPEC)), p.NoteChanged(note=note), p.RunDeleted(run_id=SPEC.run_id)))
    assert not state.results
    assert not state.notes


def test_attaching_again_starts_afresh():
    state = fold((started(SPEC), ended(1, 3.0)))
    again = apply(state, p.Attached(workspace="/w", host_pid=1, versions={}))
    assert again == State(workspace="/w", connected=True)


def test_values_are_never_changed_in_place():
    before = fold((started(SPEC), ended(1, 3.0)))
    live = dict(before.live)
    apply(before, ended(2, 2.0))
    apply(before, p.RunFinished(result=result_of(SPEC)))
    assert before.live == live


def test_every_event_is_folded_and_crosses_the_pipe_unchanged():
    sweep = Sweep("Q7", "data", (SPEC.configuration,), (0, 1))
    events: tuple[p.AnyEvent, ...] = (
        p.SweepSubmitted(sweep=sweep, missing=(SPEC.run_id,)),
        p.RunsQueued(waiting=(waiting_run(SPEC), waiting_run(OTHER)), index=0),
        p.RunsHeld(runs=(SPEC.run_id,), paused=True),
        p.RunsUnqueued(runs=(OTHER.run_id,)),
        p.TrialStarted(model=OwnModel("0" * 64, "build"), data="data", file="m.py", started_at=1.0, seconds=300),
        p.ModelTried(model=OwnModel("0" * 64, "build"), data="data", facts=ModelFacts(10)),
        p.WorkerChanged(worker="w0", state="ready"),
        p.CheckpointSaved(runs=(SPEC.run_id,), epoch=10),
        p.RunPaused(run_id=SPEC.run_id, epoch=3),
        p.ChoiceChanged(question="Q2", run_id=SPEC.run_id),
        p.HistoryRead(run_id=OTHER.run_id, history=p.History((1.0,), (0.1,), (1.0,), (0.1,), (1.0,)), damaged_lines=2),
        p.FilesChecked(hashes={SPEC.run_id: None}),
        p.DeviceSampled(samples=(p.DeviceSample("cpu", 0.5, 1, 2),), at=0.0),
        p.Noticed(text="disk full", severity="error"),
        p.Refused(command="Submit", reason="no"),
        p.CaughtUp(),
        p.HostEnded(),
    )
    assert tuple(p.decode_event(p.encode(event)) for event in events) == events
    state = fold(events)
    assert state.sweeps == {sweep.sweep_id: sweep}
    assert state.live[SPEC.run_id].status == "paused"
    assert state.choices == {"Q2": SPEC.run_id}
    assert state.damaged_lines == {OTHER.run_id: 2}
    assert state.queue == (msgspec.structs.replace(waiting_run(SPEC), paused=True),)
    assert state.caught_up
    assert not state.connected


def test_what_json_cannot_carry_travels_as_null():
    event = ended(1, *p.finite(iter([float("nan")])))
    assert b'"loss":null' in p.encode(event)
    assert losses(EMPTY.cut(2)) == (None, None)


def test_a_recorded_assignment_folds_to_its_finished_runs():
    from docs.pictures import midway, recorded

    events = recorded()
    state = fold(events)
    assert len(state.results) == 53
    assert not state.running and not state.queue
    assert all(state.history(run_id).epochs == 20 for run_id in state.results)
    assert midway(events).running


def test_what_is_worked_out_in_the_middle_of_a_batch_follows_what_comes_next():
    edits = Edits()
    state = apply(State(), p.RunFinished(result=result_of(SPEC)), edits)
    assert set(state.accuracies) == {SPEC.run_id}
    state = apply(state, p.RunFinished(result=result_of(OTHER)), edits)
    assert set(state.accuracies) == {SPEC.run_id, OTHER.run_id}
    kept, known = state, dict(state.results)
    assert not fold((p.RunDeleted(run_id=SPEC.run_id), p.RunDeleted(run_id=OTHER.run_id)), kept).results
    assert kept.results == known, "a state that was handed out stays what it is"
