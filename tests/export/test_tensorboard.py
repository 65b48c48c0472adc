"""What TensorBoard's own reader finds in an export is what the journals hold."""

import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, RunSpec
from engine.storage import journal
from engine.storage.run_folder import RunFolder
from svhn_tui.export import tensorboard
from svhn_tui.keras import Recorder
from tests.support.bridge import Bridge
from tests.support.patience import PATIENCE
from tests.support.recorded_fit import begun, trained
from tests.support.scenes import history, result


@pytest.fixture(autouse=True)
def reader_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", ModuleType("notf"))


def read(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

    (run,) = {path.parent for path in folder.rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(run), {TENSORS: 0, "images": 0, "scalars": 0})
    events.Reload()
    return events


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    events = read(folder)
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def as_stored(values) -> dict[int, float]:
    """Values by epoch, as accurate as TensorBoard keeps them."""
    return {epoch: float(np.float32(value)) for epoch, value in enumerate(values, start=1)}


def export(workspace: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "svhn_tui", "export", "-w", str(workspace), "--tensorboard", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_is_read_back_equals_the_journal(tmp_path: Path):
    recorder = begun(Recorder("a [cnn] / x", workspace=tmp_path / "w", settings={"batch_size": 64}))
    for epoch in range(5):
        trained(recorder, epoch)
    recorder.on_train_end()
    assert recorder.wait()
    for _ in range(2):  # the second replaces the first
        done = export(tmp_path / "w", tmp_path / "tb")
        assert done.wait(PATIENCE) == 0, done.stderr.read()
    (run,) = (tmp_path / "w" / "runs").iterdir()
    rows = journal.history(run / "journal.jsonl")[0].rows
    read_back = scalars(tmp_path / "tb")
    assert read_back["loss"] == as_stored(row.loss for row in rows)
    assert read_back["accuracy"] == as_stored(row.accuracy for row in rows)
    assert read_back["test_loss"] == as_stored(row.test_loss for row in rows)
    assert read_back["test_accuracy"] == as_stored(row.test_accuracy for row in rows)
    assert read_back["seconds"] == as_stored(row.seconds for row in rows)
    assert [path.name for path in (tmp_path / "tb").iterdir()] == ["a-cnn-x-recorded"]


def test_hyper_parameters_and_the_confusion_are_there_too(tmp_path: Path):
    from tensorboard.plugins.hparams import metadata

    spec = RunSpec(Configuration(Network((256, 64), "tanh")), 3, "f00d")
    tensorboard.write_run(tmp_path, result(spec, 0.5), history(4, 0.5, 3).rows, ((8, 2), (1, 9)), ("a", "b"))
    events = read(tmp_path)
    contents = events.PluginTagToContent("hparams")
    begun_at = metadata.parse_session_start_info_plugin_data(contents["_hparams_/session_start_info"])
    assert begun_at.hparams["hidden"].string_value == "256 64"
    assert begun_at.hparams["learning_rate"].number_value == 1e-5
    assert begun_at.hparams["batch_normalization"].bool_value is False
    assert begun_at.hparams["seed"].number_value == 3
    assert "_hparams_/session_end_info" in contents
    assert "confusion" in events.Tags()["images"]
    (picture,) = events.Images("confusion")
    assert picture.encoded_image_string.startswith(b"\x89PNG")


def test_a_picture_of_many_classes_is_not_larger_than_a_screen(tmp_path: Path):
    spec = RunSpec(Configuration(), 0, "f00d")
    confusion = tuple(tuple(int(row == column) for column in range(300)) for row in range(300))
    tensorboard.write_run(tmp_path, result(spec, 0.5), history(1, 0.5, 0).rows, confusion, tuple(map(str, range(300))))
    (picture,) = read(tmp_path).Images("confusion")
    assert (picture.width, picture.height) == (5 * 301, 5 * 301)


def test_a_loss_that_is_no_number_stays_one_and_what_was_missed_is_left_out(tmp_path: Path):
    spec = RunSpec(Configuration(), 0, "f00d")
    rows = (
        p.EpochRow(loss=2.0, accuracy=0.1, test_loss=2.0, test_correct=1, test_images=10, seconds=1.0),
        p.EpochRow(loss=None, accuracy=None, test_loss=None, test_correct=None, test_images=0, seconds=None),
        p.EpochRow(loss=None, accuracy=0.1, test_loss=None, test_correct=1, test_images=10, seconds=1.0),
    )
    tensorboard.write_run(tmp_path, result(spec, 0.1), rows, (), ())
    losses = scalars(tmp_path)["loss"]
    assert (losses[1], sorted(losses)) == (2.0, [1, 3])
    assert np.isnan(losses[3])


def test_what_trains_is_followed(tmp_path: Path):
    (tmp_path / "w").mkdir(mode=0o700)
    with Bridge(tmp_path / "w", begins=False) as bridge:
        recorder = begun(Recorder("live", workspace=tmp_path / "w"))
        trained(recorder, 0)
        bridge.until(lambda state, event: any(live.history.epochs == 1 for live in state.live.values()))
        following = export(tmp_path / "w", tmp_path / "tb", "--follow")
        assert following.stdout.readline().startswith("0 runs in")
        until_read(tmp_path / "tb", 1)
        trained(recorder, 1)
        until_read(tmp_path / "tb", 2)
        trained(recorder, 2)
        recorder.on_train_end()
        bridge.until_kind(p.RunFinished)
        until_read(tmp_path / "tb", 3)
        bridge.end()
    assert following.wait(PATIENCE) == 0
    (run,) = (tmp_path / "w" / "runs").iterdir()
    assert len(RunFolder(tmp_path / "w", run.name).history()[0].rows) == 3


def until_read(folder: Path, epochs: int) -> None:
    """Wait until so many epochs can be read."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if list(folder.rglob("events.out.tfevents.*")) and len(scalars(folder).get("loss", {})) == epochs:
            return
        time.sleep(0.05)
    raise AssertionError(f"not {epochs} epochs in {folder}")
