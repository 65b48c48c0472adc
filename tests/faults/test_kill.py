"""kill -9 at any moment: nothing that was trained is lost or counted twice, and it ends as if nothing had happened."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import protocol as p
from engine.core.sweep import asked
from tests.faults.aftermath import judge, left_behind, zombies
from tests.faults.conftest import Tally
from tests.faults.scene import FREQUENT, Scene, kill
from tests.support.patience import PATIENCE
from tests.support.terminal import Terminal


@pytest.fixture
def nothing_stays(tally: Tally) -> Iterator[None]:
    """Whatever was killed, in the end no process of the test is there."""
    yield
    row = tally("processes left behind by any of the kills")
    row.injected += 1
    row.expect_none(wrong=len(left_behind(os.environ["XDG_RUNTIME_DIR"])))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "kills", "seeds"), [("worker", 5, 5), ("host", 4, 4), ("bridge", 8, 5), ("screen", 2, 3)]
)
def test_kill_9_at_random_moments(
    demo_folder: Path,
    tmp_path: Path,
    undisturbed: Path,
    nothing_stays: None,
    tally: Tally,
    victim: str,
    kills: int,
    seeds: int,
):
    row = tally(f"kill -9 of a {victim}")
    slower = {"SVHN_TUI_TEST_PACE": "0.04"} if victim == "bridge" else {}  # what trains goes on between its kills
    scene = Scene(tmp_path, demo_folder, victim, seeds=seeds, **FREQUENT, **slower)
    for _ in range(kills):
        if victim == "screen":
            with Terminal(tmp_path, 80, 24) as terminal:
                terminal.until(lambda text: "Q11" in text and "training" in text)
                scene.wait()
                kill(terminal.process.pid)
            row.injected += 1
            continue
        worker = scene.wait()
        if scene.is_done:
            break
        kill({"worker": worker, "host": scene.host, "bridge": scene.bridge.process.pid}[victim])
        row.injected += 1
        if victim != "worker":
            scene.bridge.process.wait(PATIENCE)
            scene.attach()
    scene.finish()
    row.expect_none(wrong=len(zombies(scene.pids)))
    row.expect_none(**judge(tmp_path, asked(scene.sweep, {}), undisturbed))
    assert row.injected >= kills // 2, "it was over too soon"  # all of them unless the machine is busy


def test_control_without_checkpoints_the_kill_test_fails(demo_folder: Path, tmp_path: Path, undisturbed: Path):
    scene = Scene(tmp_path, demo_folder, "control", seeds=1, SVHN_TUI_CHECKPOINT_SECONDS="1000000")
    ended = scene.bridge.until(lambda state, event: isinstance(event, p.EpochEnded) and event.epoch >= 20)
    state = scene.bridge.state
    kill(state.workers[state.live[ended.runs[0]].worker].pid)
    scene.finish()
    findings = judge(tmp_path, asked(scene.sweep, {}), undisturbed)
    assert findings["lost"] >= 1, "more than a checkpoint's interval was trained again"


def test_control_with_the_result_before_the_model_the_kill_test_fails(
    demo_folder: Path, tmp_path: Path, undisturbed: Path
):
    careless = f"{sys.executable} -m tests.faults.careless_worker"
    scene = Scene(tmp_path, demo_folder, "control", seeds=1, SVHN_TUI_WORKER=careless, **FREQUENT)
    scene.finish()
    findings = judge(tmp_path, asked(scene.sweep, {}), undisturbed)
    assert findings["wrong"] >= 1, "a result tells of a model that is not there"
