"""A run that a worker was given is the worker's, begun or not: whatever is asked for meanwhile, it is trained once."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, RunSpec, Training
from engine.core.sweep import Sweep
from engine.storage import archive
from engine.storage.manifest import Remarks
from svhn_tui.analysis.queue_entries import idle_text
from tests.support.bridge import Bridge
from tests.support.fake_worker import result_of
from tests.support.gated_worker import TOLD_TO_STOP
from tests.support.patience import PATIENCE

CONFIGURATION = Configuration(Network((8,), "relu"), Training(epochs=1))


class Scene:
    """A host whose worker was given a run and does not begin it until the gate is opened."""

    def __init__(self, root: Path, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.workspace = root / "gate", root / "w"
        monkeypatch.setenv("SVHN_TUI_WORKER", f"{sys.executable} -m tests.support.gated_worker")
        monkeypatch.setenv("SVHN_TUI_TEST_GATE", str(self.gate))
        self.bridge = Bridge(self.workspace)
        self.data = self.bridge.open(demo_folder)
        self.sweep = Sweep("gated", self.data.fingerprint, (CONFIGURATION,), (0,))
        (self.spec,) = (RunSpec(CONFIGURATION, 0, self.data.fingerprint),)
        self.run_id = self.spec.run_id
        self.submit()
        self.bridge.until(lambda state, event: isinstance(event, p.RunsUnqueued) and self.run_id in event.runs)

    def submit(self) -> None:
        self.bridge.send(p.Submit(sweep=self.sweep, request="submit"))
        self.answer("submit")

    def answer(self, request: str) -> p.AnyEvent:
        return self.bridge.until(lambda state, event: getattr(event, "request", "") == request)

    def open(self) -> None:
        self.gate.touch()

    def ends_well(self) -> None:
        """Once the gate is open, the run that is asked for is trained, once, and stays what it is."""
        self.open()
        self.bridge.until(lambda state, event: self.run_id in state.results)
        self.bridge.send(p.Submit(sweep=self.sweep, request="at the end"))
        assert self.answer("at the end").missing == ()
        assert not self.bridge.state.queue and not self.bridge.state.running
        assert self.times == 1
        assert sum(isinstance(event, p.RunFinished) for event in self.bridge.events) == 1
        self.bridge.end()

    @property
    def times(self) -> int:
        log = self.workspace / "runs" / self.run_id / "times-trained"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def scene(tmp_path: Path, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(tmp_path, demo_folder, monkeypatch)
    with made.bridge:
        yield made


def packed(scene: Scene, root: Path) -> Path:
    """The same run, finished on another machine, in a packed file."""
    folder = root / "elsewhere" / "runs" / scene.run_id
    folder.mkdir(parents=True)
    (root / "elsewhere" / "sweeps").mkdir(exist_ok=True)
    (folder / "spec.json").write_bytes(msgspec.json.encode(scene.spec))
    result = result_of(scene.spec, scene.data, 0.9, folder)
    (folder / "result.json").write_bytes(msgspec.json.encode(result))
    (folder / "journal.jsonl").touch()
    archive.pack(root / "elsewhere", root / "runs.zip", Remarks())
    return root / "runs.zip"


@pytest.mark.parametrize("command", [p.Delete, p.Restore])
def test_what_would_move_its_folder_is_refused(scene: Scene, command: type[p.Delete] | type[p.Restore]):
    scene.bridge.send(command(runs=(scene.run_id,), request="move"))
    assert "A run in training cannot be" in scene.answer("move").reason
    scene.ends_well()


def test_an_import_of_the_same_run_does_not_replace_it(scene: Scene, tmp_path: Path):
    scene.bridge.send(p.Import(path=str(packed(scene, tmp_path)), request="import"))
    assert scene.answer("import") == p.Imported(finished=0, unfinished=0, known=1, request="import")
    scene.ends_well()


@pytest.mark.parametrize("is_asked_before_it_let_go", [True, False])
def test_a_cancelled_run_is_trained_when_it_is_asked_for_again(scene: Scene, is_asked_before_it_let_go: bool):
    scene.bridge.send(p.Cancel(runs=(scene.run_id,)))
    scene.bridge.until(lambda state, event: event == p.Noticed(text=TOLD_TO_STOP))
    if not is_asked_before_it_let_go:
        scene.bridge.send(p.Delete(runs=(scene.run_id,), request="delete"))
        assert "it is being stopped" in scene.answer("delete").reason
        scene.open()
        scene.bridge.until_kind(p.RunInterrupted)
        assert scene.times == 0 and not scene.bridge.state.queue
    scene.submit()
    scene.ends_well()


@pytest.mark.parametrize("again", ["resume", "submit"])
def test_a_paused_run_goes_on_when_it_is_asked_for(scene: Scene, again: str):
    scene.bridge.send(p.Pause())
    scene.bridge.until(lambda state, event: event == p.Noticed(text=TOLD_TO_STOP))
    scene.open()
    scene.bridge.until_kind(p.RunPaused)
    assert [run.paused for run in scene.bridge.state.queue] == [True]
    if again == "submit":
        scene.submit()
    else:
        scene.bridge.send(p.Resume())
    scene.ends_well()


def test_another_fleet_leaves_it_where_it_is(scene: Scene):
    scene.bridge.send(p.SetFleet(fleet=p.Fleet(ssh=("nowhere.invalid",)), request="fleet"))
    scene.answer("fleet")
    scene.ends_well()


def test_a_shutdown_leaves_it_to_the_next_host(scene: Scene):
    scene.bridge.end()
    scene.bridge.process.wait(PATIENCE)
    with Bridge(scene.workspace, begins=False) as looks:
        looks.until_kind(p.CaughtUp)
        assert [run.run_id for run in looks.state.queue] == [scene.run_id]
        assert idle_text(looks.state) == "1 run waiting: open the screen or `svhn-tui run all` to continue."
    scene.bridge = Bridge(scene.workspace)
    with scene.bridge:
        scene.ends_well()


def test_an_imported_sweep_waits_until_it_is_asked_for(scene: Scene, tmp_path: Path):
    sweep = Sweep("theirs", scene.data.fingerprint, (CONFIGURATION,), (1, 2))
    sweeps = tmp_path / "elsewhere" / "sweeps"
    sweeps.mkdir(parents=True)
    (sweeps / f"{sweep.sweep_id}.json").write_bytes(msgspec.json.encode(sweep))
    scene.bridge.send(p.Import(path=str(packed(scene, tmp_path)), request="import"))
    scene.answer("import")
    assert [run.paused for run in scene.bridge.state.queue] == [True, True]
    scene.open()
    scene.bridge.until(lambda state, event: scene.run_id in state.results)
    assert len(scene.bridge.state.queue) == 2, "the worker is free, and still they wait"
    scene.bridge.end()
    scene.bridge.process.wait(PATIENCE)
    scene.bridge = Bridge(scene.workspace)
    with scene.bridge:
        scene.bridge.until_kind(p.CaughtUp)
        assert [run.paused for run in scene.bridge.state.queue] == [True, True], "at the next start too"
        scene.bridge.send(p.Submit(sweep=sweep))
        scene.bridge.until(lambda state, event: len(state.results) == 3)
        scene.bridge.end()


def test_what_came_before_an_import_failed_is_known_as_it_lies_on_disk(scene: Scene, tmp_path: Path):
    file = packed(scene, tmp_path)
    here, other = scene.workspace / "runs", RunSpec(CONFIGURATION, 7, scene.data.fingerprint)
    (here / other.run_id).mkdir()  # as a run taken in before the damage was met
    result = result_of(other, scene.data, 0.9, here / other.run_id)
    (here / other.run_id / "spec.json").write_bytes(msgspec.json.encode(other))
    (here / other.run_id / "result.json").write_bytes(msgspec.json.encode(result))
    file.write_bytes(file.read_bytes()[:-100])
    scene.bridge.send(p.Import(path=str(file), request="import"))
    assert isinstance(scene.answer("import"), p.Refused)
    assert other.run_id in scene.bridge.state.results
    scene.open()
    scene.bridge.until(lambda state, event: len(state.results) == 2)
    scene.bridge.end()
