"""A run is one attempt's at a time: what a worker does that was given up for lost is set aside, not mixed in."""

from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from engine.core.spec import RunSpec
from engine.data import dataset
from engine.storage import claims
from engine.training import run
from engine.training.jax_trainer import FastTrainer
from engine.training.training_loop import Attempts
from tests.training.test_training import RELU, EventLog


class TakenOver(EventLog):
    """Lets another attempt have the run at an epoch."""

    def __init__(self, folder: Path, epoch: int) -> None:
        super().__init__()
        self._folder, self._epoch = folder, epoch

    def __call__(self, event: p.AnyEvent) -> None:
        super().__call__(event)
        if isinstance(event, p.EpochEnded) and event.epoch == self._epoch:
            claims.claim(self._folder, claims.new_attempt())


def trained(workspace: Path, demo_folder: Path, taken_over_at: int) -> tuple[Path, str, TakenOver]:
    data = dataset.describe([demo_folder])
    spec = RunSpec(RELU, 0, data.fingerprint)
    folder = workspace / "runs" / spec.run_id
    folder.parent.mkdir()
    name, log = claims.new_attempt(), TakenOver(folder, taken_over_at)
    with Attempts("w0", FastTrainer(), log, log.stop_of) as attempts:
        attempts.train(p.Train(group="g", workspace=str(workspace), specs=(spec,), data=data, attempt=name))
    return folder, name, log


def test_an_attempt_that_lost_its_run_stops_and_leaves_no_checkpoint(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run, "CHECK_SECONDS", 0.0)
    folder, _, log = trained(tmp_path, demo_folder, taken_over_at=2)
    (interrupted,) = log.of(p.RunInterrupted)
    assert (interrupted.epoch, "Another attempt has this run" in interrupted.reason) == (2, True)
    assert not log.of(p.CheckpointSaved)
    assert {path.name for path in folder.iterdir()} == {"attempt", "engine.log", "journal.jsonl", "spec.json"}


def test_a_late_result_of_a_superseded_attempt_is_set_aside(demo_folder: Path, tmp_path: Path):
    folder, name, log = trained(tmp_path, demo_folder, taken_over_at=4)
    assert not log.of(p.RunFinished)
    assert not (folder / "result.json").exists()
    assert not (folder / "model.keras").exists()
    aside = msgspec.json.decode((folder / f"result.superseded-{name}.json").read_bytes(), type=p.RunResult)
    assert aside.model_bytes == (folder / f"model.superseded-{name}.keras").stat().st_size


def test_an_attempt_keeps_its_run_while_nobody_else_has_it(demo_folder: Path, tmp_path: Path):
    folder, name, log = trained(tmp_path, demo_folder, taken_over_at=99)
    assert len(log.of(p.RunFinished)) == 1
    assert (folder / "attempt").read_text() == name
    assert not claims.is_superseded(folder, claims.new_attempt()), "a newer one is free to take it"
    claims.claim(folder, "0" * 16)
    assert (folder / "attempt").read_text() == name, "an old one never takes it back"
    assert not claims.is_superseded(folder, "")
    assert not claims.is_superseded(tmp_path, name), "a folder that names none is everybody's"
