"""Own models through the whole program: asked about, tried, trained compiled or with `fit`, packed and verified."""

import asyncio
import hashlib
import json
import os
import shutil
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from engine.core.own_model import ModelFacts
from engine.core.spec import Configuration, Network, OwnModel, Training
from engine.core.sweep import Sweep, asked
from engine.host.model_trials import ModelTrials
from engine.machine import system
from engine.scheduling.known_models import Key
from engine.scheduling.queue import Queue
from engine.storage import journal
from svhn_tui.analysis.trial_text import trial_text
from tests.cli.test_program import as_json, svhn_tui
from tests.support.bridge import Bridge
from tests.support.own_models import FILE
from tests.support.patience import PATIENCE
from tests.support.scenes import DATA

STARTED = ["sleep", f"600.{os.getpid()}"]
"""What the model file starts, and no other process of this machine is called."""
ENDLESS = f"""
import subprocess

def endless(input_shape, classes):
    while True:
        pass

def unknown(input_shape, classes):
    subprocess.Popen({STARTED})
    return nothing
"""


def sweep_of(build: str, data: p.DataSet) -> p.Submit:
    """Ask for two runs of a model of the file above, which its user calls `mine.py`."""
    model = OwnModel(hashlib.sha256(ENDLESS.encode()).hexdigest(), build)
    configuration = Configuration(Network(model=model), Training(epochs=1))
    sweep = Sweep(build, data.fingerprint, (configuration,), (0, 1))
    return p.Submit(sweep=sweep, sources=(ENDLESS,), source_names=("mine.py",))


def trials_of(host: int) -> list[psutil.Process]:
    children = psutil.Process(host).children()
    return [some for some in children if "engine.tools.model_trial" in " ".join(some.cmdline())]


def test_a_trial_is_reported_and_ends_with_the_runs_that_wait_for_it(demo_folder: Path, tmp_path: Path):
    """Who attaches later sees it too, and what failed; a host that is started again knows both and the file's name."""
    with Bridge(tmp_path) as bridge:
        endless = sweep_of("endless", bridge.open(demo_folder))
        bridge.send(endless)
        host = bridge.events[0].host_pid
        for _ in range(2):  # the second time it was taken out, and is asked for again
            bridge.until_kind(p.TrialStarted)
            (trial,) = bridge.state.trying
            assert trial_text(trial).startswith("mine.py: endless is being built, to try it, for")
            with Bridge(tmp_path) as later:
                later.until_kind(p.CaughtUp)
                assert later.state.trying == (trial,)
            bridge.until(lambda state, event: bool(trials_of(host)))  # an event comes every two seconds
            (process,) = trials_of(host)
            bridge.send(p.Cancel(runs=tuple(bridge.state.waiting)))
            process.wait(PATIENCE)
            bridge.until(lambda state, event: not state.waiting)
            assert not bridge.state.trying
            bridge.send(endless)
        bridge.send(p.Cancel(runs=tuple(spec.run_id for spec in asked(endless.sweep, {}))))
        unknown = sweep_of("unknown", bridge.state.data)
        bridge.send(unknown)
        bridge.until(lambda state, event: len(state.live) == 2)
        bridge.end()
    with Bridge(tmp_path) as later:
        later.until_kind(p.CaughtUp)
        reasons = {live.reason for live in later.state.live.values() if live.status == "failed"}
        assert len(later.state.live) == 2 and not later.state.waiting
        (reason,) = reasons
        assert reason.startswith("mine.py, line 10, in unknown: NameError:")
        assert not [some for some in psutil.process_iter(["cmdline"]) if some.info["cmdline"] == STARTED]
        later.send(p.Resume(runs=tuple(later.state.live)))
        later.until(lambda state, event: isinstance(event, p.TrialStarted) and event.file == "mine.py")
        assert not later.state.live
        later.end()


def book(folder: Path) -> None:
    """Write an `experiments.json` with a model file beside it."""
    folder.mkdir(mode=0o700)
    shutil.copy(FILE, folder / "models.py")
    builds = {"mine": "residual", "tf": "tensorflow_only", "bad": "broken"}
    uploads = {"mine": "A1.keras", "tf": "A2.keras"}
    questions = [
        {"id": f"A{index + 1}", "kind": "training", "title": name, "text": name, "networks": [name], "seeds": [0],
         **({"upload": {"file": uploads[name]}} if name in uploads else {})}
        for index, name in enumerate(builds)
    ]  # fmt: skip
    networks = {name: {"file": "models.py", "build": build} for name, build in builds.items()}
    training = {"epochs": 2, "learning_rate": 1e-3}
    text = {"format": 1, "title": "own", "training": training, "networks": networks, "questions": questions}
    (folder / "experiments.json").write_text(json.dumps(text))


@pytest.mark.slow
def test_from_the_question_whether_it_may_run_to_a_verified_export(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    workspace, data = tmp_path / "w", ("--data", str(demo_folder))
    book(workspace)
    refused = svhn_tui("run", "A1", *data, workspace=workspace, code=1).stderr
    assert "svhn-tui trust" in refused
    assert not (workspace / "runs").exists()
    svhn_tui("trust", str(workspace / "models.py"), "--yes", workspace=workspace)
    failed = svhn_tui("run", "A3", "A1", "A2", *data, workspace=workspace, code=1).stderr
    assert "models.py, line 104, in _deeper: ValueError: width 3 is not even" in failed
    runs = {run["configuration"].split()[0]: run for run in as_json("runs", workspace=workspace)}
    assert {name: run["trained_by"] for name, run in runs.items()} == {
        "residual": "jax",
        "tensorflow_only": "keras-fit",
    }
    for run, remark in (("residual", "compiled on JAX"), ("tensorflow_only", "model.fit trains it")):
        folder = Path(runs[run]["folder"])
        assert (folder / "model.py").read_bytes() == FILE.read_bytes()
        events = journal.read(folder / "journal.jsonl").events
        assert any(remark in event.text for event in events if isinstance(event, p.Noticed))
    exported = as_json("export", str(tmp_path / "out"), workspace=workspace)
    texts = {thing["name"]: thing["said"] for thing in exported}
    assert all("verified" in texts[name] and "NOT" not in texts[name] for name in ("A1.keras", "A2.keras")), texts
    svhn_tui("pack", str(tmp_path / "runs.zip"), workspace=workspace)
    svhn_tui("stop", workspace=workspace)

    elsewhere, home = tmp_path / "config", tmp_path / "home"
    elsewhere.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(elsewhere))  # another user's machine
    remark = svhn_tui("import", str(tmp_path / "runs.zip"), workspace=home).stdout
    assert "2 finished runs taken in" in remark
    assert "is not run until you looked at it: svhn-tui trust" in remark
    (digits,) = {line.split()[2] for line in remark.splitlines() if line.startswith("Model file")}
    shutil.copy(workspace / "experiments.json", home)
    shutil.copy(workspace / "models.py", home)
    assert "svhn-tui trust" in svhn_tui("run", "A1", *data, workspace=home, code=1).stderr
    svhn_tui("trust", digits, "--yes", workspace=home)
    svhn_tui("run", "A1", *data, workspace=home)
    exported = as_json("export", str(tmp_path / "out2"), workspace=home)
    assert "verified" in {thing["name"]: thing["said"] for thing in exported}["A1.keras"]
    svhn_tui("stop", workspace=home)


async def test_few_trials_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A grid over the parameters of a model has many, and each loads Keras and JAX."""
    monkeypatch.setattr(system, "usable_cores", lambda: tuple(range(12)))
    running, most, end = [], [], asyncio.Event()

    async def tried(trials: ModelTrials, key: Key) -> ModelFacts:
        running.append(key)
        most.append(len(running))
        await end.wait()
        running.remove(key)
        return ModelFacts(1)

    monkeypatch.setattr(ModelTrials, "_facts", tried)
    queue = Queue(lambda event: None, data={DATA.fingerprint: DATA})
    models = [OwnModel("0" * 64, "build", (("width", width),)) for width in range(9)]
    configurations = tuple(Configuration(Network(model=model)) for model in models)
    queue.want(Sweep("S1", DATA.fingerprint, configurations, (0,)))
    ended: list[p.AnyEvent] = []
    trials = ModelTrials(tmp_path, queue, ended.append, lambda: None)
    trials.begin()
    await asyncio.sleep(0)
    assert len(running) == 3
    end.set()
    async with asyncio.timeout(PATIENCE):
        while len(ended) < len(models):
            await asyncio.sleep(0)
    assert max(most) == 3 and not queue.models.wanted
