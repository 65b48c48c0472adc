"""Training of the user's own programs: recorded as a run whatever ends, and nothing of it reaches the training."""

import os
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, RecordedModel, RunSpec
from engine.core.sweep import Sweep
from engine.storage import archive, journal, lock_file
from engine.storage.doctor import examine
from engine.storage.run_folder import RunFolder
from svhn_tui.analysis import run_filter
from svhn_tui.analysis.run_table import RunLine, cells_of
from svhn_tui.client.state import State
from svhn_tui.keras import Recorder
from svhn_tui.pages.run_text import head_of
from svhn_tui.themes import DARK
from tests.support.bridge import Bridge
from tests.support.patience import PATIENCE
from tests.support.recorded_fit import Model, begun, logs_of, trained


class Program:
    """A program whose fit is recorded, in a process of its own."""

    def __init__(self, workspace: Path) -> None:
        command = [sys.executable, "-m", "tests.support.recorded_fit", str(workspace)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )

    def epochs(self, count: int) -> None:
        self.process.stdin.write("epoch\n" * count)

    def end(self) -> str:
        """End the fit; return what it wrote on stderr."""
        self.process.stdin.write("end\n")
        self.process.stdin.close()
        assert self.process.stdout.readline() == "written\n"
        errors = self.process.stderr.read()
        assert self.process.wait(PATIENCE) == 0
        return errors


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path / "w")
    yield program
    program.process.kill()
    program.process.wait()


def one(mapping):
    (value,) = mapping.values()
    return value


def rows_of(workspace: Path, run_id: str) -> list[tuple[float, float, float, float]]:
    history, damaged = journal.history(workspace / "runs" / run_id / "journal.jsonl")
    assert damaged == 0
    return [(row.loss, row.accuracy, row.test_loss, row.test_accuracy) for row in history.rows]


def expected(epochs: int) -> list[tuple[float, ...]]:
    return [tuple(logs_of(epoch)[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
            for epoch in range(epochs)]  # fmt: skip


def attached_when_made(workspace: Path) -> Bridge:
    """Attach once the program has made the workspace."""
    workspace.mkdir(mode=0o700, exist_ok=True)
    return Bridge(workspace, begins=False)


def epochs_live(state) -> int:
    """How many epochs of the run in training are known."""
    rows = [row for live in state.live.values() for row in live.history.rows]
    return sum(row.loss is not None for row in rows)


def test_a_run_is_shown_as_it_trains_and_listed_when_it_is_done(program: Program, tmp_path: Path):
    with attached_when_made(tmp_path / "w") as bridge:
        program.epochs(3)
        bridge.until(lambda state, event: epochs_live(state) == 3)
        assert one(bridge.state.live).status == "running"
        program.epochs(2)
        errors = program.end()
        bridge.until_kind(p.RunFinished)
        result = one(bridge.state.results)
        bridge.until(lambda state, event: bool(state.notes))
        note = one(bridge.state.notes)
    assert (note.text, note.tags) == ("by hand", ("mine",))
    assert errors == "svhn-tui Recorder: not recorded, since it is not a number or there are too many: words.\n"
    assert dict(result.logged) == {"auc": 0.5, "f1": 0.75}, "of each class its mean, as Keras's bar shows it"
    assert result.spec.configuration.label == "my cnn (recorded)"
    recorded = result.spec.configuration.recorded
    assert dict(recorded.settings) == {
        "batch_size": "64", "optimizer": "optimizer", "learning_rate": "0.001", "loss_function": "mse",
        "layers": "Dense 10",
    }  # fmt: skip
    assert (result.test_accuracy, result.loss, result.best_epoch) == (0.25 + 4 / 64, 0.4, 5)
    assert (result.spec.seed, result.trainable_parameters, result.trained_by) == (3, 240, "recorded")
    assert rows_of(tmp_path / "w", result.run_id) == expected(5)
    assert "the model's own summary" in (tmp_path / "w" / "runs" / result.run_id / "engine.log").read_text()


def test_a_host_that_is_killed_is_started_again_and_hears_what_it_missed(program: Program, tmp_path: Path):
    with attached_when_made(tmp_path / "w") as bridge:
        program.epochs(2)
        bridge.until(lambda state, event: epochs_live(state) == 2)
    os.kill(lock_file.read(tmp_path / "w").pid, signal.SIGKILL)
    program.epochs(2)
    with attached_when_made(tmp_path / "w") as bridge:
        bridge.until(lambda state, event: epochs_live(state) == 4)
        assert [row.loss for row in one(bridge.state.live).history.rows] == [row[0] for row in expected(4)]
        os.kill(lock_file.read(tmp_path / "w").pid, signal.SIGKILL)
    program.epochs(1)
    program.end()
    with attached_when_made(tmp_path / "w") as bridge:
        bridge.until(lambda state, event: bool(state.results))
        assert rows_of(tmp_path / "w", one(bridge.state.results).run_id) == expected(5)


def test_what_was_recorded_of_a_program_that_is_killed_is_a_run(program: Program, tmp_path: Path):
    with attached_when_made(tmp_path / "w") as bridge:
        program.epochs(3)
        bridge.until(lambda state, event: epochs_live(state) == 3)
        program.process.kill()
        bridge.until_kind(p.RunFinished)
        assert one(bridge.state.results).test_accuracy == 0.25 + 2 / 64
        bridge.end()
    assert [finding for finding in examine(tmp_path / "w") if finding.level == "damaged"] == []


def test_a_fork_that_outlives_the_program_does_not_keep_its_run_going(program: Program, tmp_path: Path):
    with attached_when_made(tmp_path / "w") as bridge:
        program.epochs(3)
        bridge.until(lambda state, event: epochs_live(state) == 3)
        program.process.stdin.write("fork\n")
        child = int(program.process.stdout.readline())
        try:
            program.process.kill()
            bridge.until_kind(p.RunFinished)
            os.kill(child, 0)  # it lives
        finally:
            os.kill(child, signal.SIGKILL)
        result = one(bridge.state.results)
        assert (result.interrupted, result.epochs_trained, result.spec.configuration.training.epochs) == (True, 3, 8)


def test_program_and_host_killed_together_lose_nothing_that_was_written(program: Program, tmp_path: Path):
    with attached_when_made(tmp_path / "w") as bridge:
        program.epochs(3)
        bridge.until(lambda state, event: epochs_live(state) == 3)
        program.process.kill()
        os.kill(lock_file.read(tmp_path / "w").pid, signal.SIGKILL)
    with attached_when_made(tmp_path / "w") as bridge:
        bridge.until(lambda state, event: bool(state.results))
        assert rows_of(tmp_path / "w", one(bridge.state.results).run_id) == expected(3)


def test_a_full_disk_is_waited_for(program: Program, tmp_path: Path):
    with attached_when_made(tmp_path / "w") as bridge:
        program.epochs(1)
        bridge.until(lambda state, event: epochs_live(state) == 1)
        before = resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
        program.epochs(2)
        bridge.until(lambda state, event: epochs_live(state) == 3)  # it is shown all the same
        run_id = one(bridge.state.live).spec.run_id
        assert rows_of(tmp_path / "w", run_id) == expected(1)
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, before)
        assert "It is tried again." in program.end()
        bridge.until_kind(p.RunFinished)
    assert rows_of(tmp_path / "w", run_id) == expected(3)


def test_it_counts_as_no_answer_and_is_the_programs_own(program: Program, tmp_path: Path):
    with attached_when_made(tmp_path / "w") as bridge:
        program.epochs(1)
        bridge.until(lambda state, event: epochs_live(state) == 1)
        spec = one(bridge.state.live).spec

        def refusal(command: p.AnyCommand) -> str:
            bridge.send(msgspec.structs.replace(command, request="asked"))
            event = bridge.until(lambda state, event: getattr(event, "request", "") == "asked")
            assert isinstance(event, p.Refused), event
            return event.reason

        assert "stop it there" in refusal(p.Pause(runs=(spec.run_id,)))
        assert "stop it there" in refusal(p.Cancel(runs=(spec.run_id,)))
        assert "by who records it" in refusal(p.Report(event=p.RunInterrupted(run_id=spec.run_id, reason="mine")))
        other = msgspec.structs.replace(spec, seed=4)
        begin = p.RunStarted(group="g", runs=(other.run_id,), specs=(other,), worker="", device="")
        assert "its recorder writes elsewhere" in refusal(p.Report(event=begin))
        named = p.RunStarted(group="g", runs=("0" * 12,), specs=(spec,), worker="", device="")
        assert "one at a time" in refusal(p.Report(event=named))
        none = p.RunStarted(group="g", runs=(), specs=(), worker="", device="")
        assert "one at a time" in refusal(p.Report(event=none))
        ours = RunSpec(Configuration(), 0, "")
        begin = p.RunStarted(group="g", runs=(ours.run_id,), specs=(ours,), worker="", device="")
        assert "not a recorded run" in refusal(p.Report(event=begin))
        bridge.send(p.Pause())  # all that can be
        program.end()
        bridge.until_kind(p.RunFinished)
        assert "no file to hand in" in refusal(p.Choose(question="Q5", run_id=spec.run_id))
        assert "no file of it" in refusal(p.Inspect(run_id=spec.run_id))
        assert "finished already" in refusal(p.Report(event=begin_of(spec)))
        bridge.send(p.Delete(runs=(spec.run_id,)))
        bridge.until_kind(p.RunDeleted)


def begin_of(spec: RunSpec) -> p.RunStarted:
    return p.RunStarted(group="g", runs=(spec.run_id,), specs=(spec,), worker="", device="")


def test_a_sweep_cannot_ask_for_it(tmp_path: Path):
    from engine.core.limits import sweep_problem

    sweep = Sweep("Q7", "data", (Configuration(recorded=RecordedModel("my cnn")),), (0,))
    assert "its own program" in sweep_problem(sweep)


def recorded(workspace: Path, epochs: int = 3, **more: object) -> RunFolder:
    """Record a fit in this process, without a host that would hear of it."""
    recorder = begun(Recorder("here", workspace=workspace, **more))
    for epoch in range(epochs):
        trained(recorder, epoch)
    recorder.on_train_end()
    assert recorder.wait()
    (run,) = [RunFolder(workspace, path.name) for path in (workspace / "runs").iterdir()]
    return run


def test_it_goes_to_another_machine_in_a_pack(tmp_path: Path):
    run = recorded(tmp_path / "one")
    assert archive.pack(tmp_path / "one", tmp_path / "runs.zip", archive.Remarks()) == archive.Packed(1)
    with zipfile.ZipFile(tmp_path / "runs.zip") as packed:
        assert f"runs/{run.run_id}/result.json" in packed.namelist()
    with attached_when_made(tmp_path / "two") as bridge:
        bridge.send(p.Import(path=str(tmp_path / "runs.zip")))
        bridge.until_kind(p.Imported)
        assert set(bridge.state.results) == {run.run_id}
    assert rows_of(tmp_path / "two", run.run_id) == expected(3)


def test_a_run_without_validation_has_no_test_accuracy(tmp_path: Path):
    recorder = begun(Recorder(workspace=tmp_path / "w"))
    recorder.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.5})
    recorder.on_epoch_end(1, {"loss": float("nan"), "accuracy": 0.1})
    recorder.on_train_end()
    assert recorder.wait()
    (path,) = (tmp_path / "w" / "runs").iterdir()
    result = RunFolder(tmp_path / "w", path.name).read_result()
    assert (result.test_accuracy, result.best_test_accuracy, result.accuracy) == (None, None, 0.1)
    assert result.diverged
    assert result.spec.configuration.label == "its own name (recorded)"
    assert list(RunFolder(tmp_path / "w", path.name).problems()) == []


def test_whatever_is_wrong_the_training_goes_on_with_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("no folder")
    recorder = begun(Recorder(workspace=tmp_path / "file" / "w"))
    trained(recorder, 0)
    recorder.on_train_end()
    odd = Recorder(workspace=tmp_path / "w", seed="no number", tags=7, settings=["no mapping"])
    odd.set_model(object())
    odd.set_params(None)
    odd.on_train_begin()
    odd.on_epoch_end("no epoch", "no logs")
    odd.on_train_end()
    fitted = begun(Recorder(workspace=tmp_path / "w"))
    fitted.on_epoch_end(0, {"loss": "no number"})
    fitted.on_epoch_end(1, {"loss": 1.0, "\x1b[31mf1\u202e": ["none"]})
    fitted.on_train_end()
    assert fitted.wait()
    recorder.wait(1.0)
    printed = capfd.readouterr().err
    assert 3 <= sum(line.startswith("svhn-tui Recorder: ") for line in printed.splitlines()) <= 5
    assert "Traceback" not in printed and "[31mf1" in printed
    assert "\x1b" not in printed and "\u202e" not in printed


def test_two_recorders_watch_one_fit(tmp_path: Path):
    params = {"epochs": 2}
    both = [Recorder(name, workspace=tmp_path / "w") for name in ("first", "second")]
    for recorder in both:
        recorder.set_params(params)
        recorder.set_model(Model())
    for recorder in both:
        recorder.on_train_begin()
    for recorder in both:
        trained(recorder, 0)
        recorder.on_train_end()
    assert all(recorder.wait() for recorder in both)
    results = [RunFolder(tmp_path / "w", path.name).read_result() for path in (tmp_path / "w" / "runs").iterdir()]
    assert {result.spec.configuration.recorded.name for result in results} == {"first", "second"}


def fit(recorder: Recorder, epochs: int) -> None:
    """Train as Keras does, until ctrl-c."""
    begun(recorder)
    for epoch in range(epochs):
        trained(recorder, epoch)
    raise KeyboardInterrupt


def test_a_fit_that_is_interrupted_in_a_notebook_is_over_while_the_notebook_lives(tmp_path: Path):
    recorder = Recorder("here", workspace=tmp_path / "w")
    with pytest.raises(KeyboardInterrupt):
        fit(recorder, 2)
    assert recorder.wait()  # nothing else happens in this process
    (path,) = (tmp_path / "w" / "runs").iterdir()
    result = RunFolder(tmp_path / "w", path.name).read_result()
    assert (result.interrupted, result.epochs_trained, result.test_accuracy) == (True, 2, 0.25 + 1 / 64)
    assert run_filter.parse("is:interrupted")(result, None)
    assert cells_of(RunLine((result,)), ("configuration",)) == ("· interrupted  here (recorded)",)
    state = State(results={result.run_id: result})
    assert "interrupted after epoch 2 of 8" in head_of(result.run_id, state, DARK).plain


def test_a_fit_that_its_own_callback_stops_early_was_not_interrupted(tmp_path: Path):
    result = recorded(tmp_path / "w").read_result()
    assert (result.interrupted, result.epochs_trained) == (False, 3)


def test_a_fit_that_was_interrupted_ends_when_the_next_one_begins(tmp_path: Path):
    first = begun(Recorder("first", workspace=tmp_path / "w"))
    trained(first, 0)
    second = begun(Recorder("second", workspace=tmp_path / "w"))
    assert first.wait()
    second.on_train_end()
    assert second.wait()
