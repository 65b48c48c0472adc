"""Early stopping: when it ends a run and what the run is left with, as Keras's callback has it, lane by lane."""

from pathlib import Path
from types import SimpleNamespace

import keras
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.storage.journal import history
from engine.tools.comparison import fit_check
from engine.training.early_stopping import epoch_of_weights, is_over
from engine.training.trainer_choice import Circumstances, unsuited
from tests.support.early_stopping import arguments_of
from tests.training.test_training import EventLog, run_id_of, same_weights, train, weights_of

STOPPED = Configuration(
    Network((16,), "relu"),
    Training(epochs=25, validation_split=0.3, learning_rate=0.1, patience=2, restore_best_weights=True),
)
"""Its steps are so large that the validation loss goes up and down."""


class Model(SimpleNamespace):
    """What the callback asks of a model, and where it puts its weights back."""

    stop_training = False

    def get_weights(self) -> int:
        return self.epoch

    def set_weights(self, weights: int) -> None:
        self.epoch = weights


VALUES = st.lists(st.sampled_from([0.25, 0.5, 0.75, 1.0, float("nan")]), min_size=1, max_size=12)


@settings(deadline=None)
@given(
    VALUES, st.integers(1, 4), st.sampled_from([0.0, 0.25, 0.3]), st.integers(0, 3), st.booleans(),
    st.sampled_from(["val_loss", "val_categorical_accuracy"]),
)  # fmt: skip
def test_it_ends_where_keras_ends_and_keeps_what_keras_keeps(
    values: list[float], patience: int, min_delta: float, start: int, restores: bool, monitor: str
):
    training = Training(
        epochs=len(values), validation_split=0.1, patience=patience, min_delta=min_delta, start_from_epoch=start,
        restore_best_weights=restores, monitor=monitor,
    )  # fmt: skip
    callback = keras.callbacks.EarlyStopping(**arguments_of(training))
    assert isinstance(callback, keras.callbacks.EarlyStopping)
    callback.mode = "min" if monitor == "val_loss" else "max"  # it would ask the compiled metrics of a real model
    model = Model(epoch=0)
    callback.set_model(model)
    callback.on_train_begin()
    rows: list[p.EpochRow] = []
    for epoch, value in enumerate(values):
        assert not is_over(training, rows)
        known = None if value != value else value
        rows.append(p.EpochRow(1.0, 0.5, 1.0, 1, 2, 1.0, val_loss=known, val_accuracy=known))
        model.epoch = epoch + 1
        callback.on_epoch_end(epoch, {monitor: value})
        if model.stop_training:
            break
    callback.on_train_end()
    assert is_over(training, rows)
    assert epoch_of_weights(training, rows) == model.epoch


def test_lanes_stop_each_for_itself_and_a_run_that_goes_on_stops_where_it_would_have(demo_folder: Path, tmp_path: Path):
    together, alone, resumed = tmp_path / "together", tmp_path / "alone", tmp_path / "resumed"
    log = EventLog()
    train(together, demo_folder, STOPPED, [0, 1, 2], log)
    results = {event.result.spec.seed: event.result for event in log.of(p.RunFinished)}
    assert len(results) == 3
    ends = {seed: result.epochs_trained for seed, result in results.items()}
    assert all(end and end < 25 for end in ends.values()), ends
    for seed, result in results.items():
        run_id = result.run_id
        rows = history(together / "runs" / run_id / "journal.jsonl")[0].rows
        best = min(range(len(rows)), key=lambda epoch: rows[epoch].val_loss)
        assert len(rows) == ends[seed] == best + 1 + 2
        assert (result.restored_epoch, result.test_correct) == (best + 1, rows[best].test_correct)
        assert result.val_loss == rows[best].val_loss
        assert [event for event in log.of(p.EpochEnded) if run_id in event.runs][-1].epoch == ends[seed]
    train(alone, demo_folder, STOPPED, [1], EventLog())
    stops = EventLog(stop_at=ends[1] - 1)
    train(resumed, demo_folder, STOPPED, [1], stops)
    assert stops.of(p.RunPaused)
    train(resumed, demo_folder, STOPPED, [1], EventLog())
    assert same_weights(alone, resumed, run_id_of(demo_folder, STOPPED, 1))


def test_the_file_holds_the_best_epochs_weights(demo_folder: Path, tmp_path: Path):
    """Those of a run that ends there."""
    log = EventLog()
    train(tmp_path, demo_folder, STOPPED, [0], log)
    (finished,) = log.of(p.RunFinished)
    shorter = msgspec.structs.replace(STOPPED.training, epochs=finished.result.restored_epoch)
    configuration = msgspec.structs.replace(STOPPED, training=shorter)
    train(tmp_path, demo_folder, configuration, [0], EventLog())
    best = weights_of(tmp_path, run_id_of(demo_folder, configuration, 0))
    kept = weights_of(tmp_path, finished.result.run_id)
    assert all(np.array_equal(one, other) for one, other in zip(best, kept, strict=True))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            Training(class_weight=(1.0, 2.0)),
            "class_weight has 2 weights and the data 10 classes: give one for each, in label order.",
        ),
        (Training(patience=1, validation_split=1e-17), "validation_split holds out none of"),
        (Training(validation_split=0.9999), "validation_split holds out all"),
    ],
)
def test_what_does_not_suit_the_data_is_refused_before_training(
    demo_folder: Path, tmp_path: Path, training: Training, message: str
):
    log = EventLog()
    train(tmp_path, demo_folder, Configuration(training=training), [0], log)
    (failed,) = log.of(p.RunFailed)
    assert failed.reason.startswith(message)


@pytest.mark.parametrize("training", [STOPPED.training, Training(label_smoothing=0.1)])
def test_the_native_trainer_is_left_out_where_its_mathematics_do_not_hold(training: Training):
    assert unsuited(Configuration(training=training), Circumstances(10)).startswith("the ")


@pytest.mark.parametrize(
    ("batches", "ok"), [(250, True), (40, True), (30, False), (41, False), (260, False), (0, False), (None, None)]
)
def test_a_file_may_be_fitted_for_fewer_epochs_where_early_stopping_is_asked_for(batches: int | None, ok: bool | None):
    """25 epochs of 10 batches are asked; with a patience of 2 from the second epoch on it may end after the fourth."""
    training = msgspec.structs.replace(STOPPED.training, start_from_epoch=1)
    assert fit_check(batches, 10, training, fitted=True).ok is ok
