"""The workspace is moved or copied while it trains, the clock jumps back, and what the lock's file says is stale."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from engine.core.sweep import asked
from engine.host.socket_path import socket_path
from tests.faults.aftermath import judge
from tests.faults.conftest import Tally
from tests.faults.scene import EPOCHS, FREQUENT, Scene, kill
from tests.support.bridge import Bridge
from tests.support.customised import customise
from tests.support.patience import PATIENCE

SHARED_MEMORY = Path("/dev/shm")


def in_training(scene: Scene) -> None:
    scene.bridge.until(lambda state, event: isinstance(event, p.CheckpointSaved) and event.epoch >= 30)


@pytest.mark.slow
def test_a_copy_on_another_file_system_is_a_workspace_of_its_own(
    demo_folder: Path,
    tmp_path: Path,
    undisturbed: Path,
    tally: Tally,
    request: pytest.FixtureRequest,
):
    row = tally("a workspace copied while its host runs")
    elsewhere = (SHARED_MEMORY if SHARED_MEMORY.is_dir() else tmp_path) / f"svhn-tui-test-{os.getpid()}"
    request.addfinalizer(lambda: shutil.rmtree(elsewhere, ignore_errors=True))
    scene = Scene(tmp_path / "w", demo_folder, "copy", seeds=2, **FREQUENT)
    in_training(scene)
    subprocess.run(["cp", "-a", str(tmp_path / "w"), str(elsewhere)], check=False, capture_output=True)
    row.injected += 1
    with Bridge(elsewhere, **FREQUENT) as copy:
        copy.open(demo_folder)
        assert copy.events[0].host_pid != scene.host
        assert copy.state.workspace == str(elsewhere)
        copy.until(lambda state, event: len(state.results) == len(asked(scene.sweep, {})))
        copy.end()
    scene.finish()
    for root in (tmp_path / "w", elsewhere):
        row.expect_none(**judge(root, asked(scene.sweep, {}), undisturbed))


@pytest.mark.slow
def test_a_moved_workspace_goes_on_where_it_is_and_nothing_is_written_where_it_was(
    demo_folder: Path,
    tmp_path: Path,
    undisturbed: Path,
    tally: Tally,
):
    row = tally("a workspace moved while its host runs")
    scene = Scene(tmp_path / "w", demo_folder, "move", seeds=2, **FREQUENT)
    in_training(scene)
    scene.note()
    (tmp_path / "w").rename(tmp_path / "elsewhere")
    row.injected += 1
    ended = scene.bridge.until_kind(p.HostEnded)
    assert "was moved or replaced; open it where it is now" in ended.reason
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in scene.pids if psutil.pid_exists(pid)], timeout=PATIENCE
    )
    row.expect_none(wrong=len(alive) + (tmp_path / "w").exists())
    with Bridge(tmp_path / "elsewhere", **FREQUENT) as bridge:
        bridge.open(demo_folder)
        bridge.until(lambda state, event: len(state.results) == len(asked(scene.sweep, {})))
        bridge.end()
    until_noticed = EPOCHS  # what is trained in the second until the host looks has no checkpoint any more
    row.expect_none(**judge(tmp_path / "elsewhere", asked(scene.sweep, {}), undisturbed, interval=until_noticed))


@pytest.mark.slow
def test_a_clock_that_jumps_back_three_years_changes_nothing(
    demo_folder: Path,
    tmp_path: Path,
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    tally: Tally,
):
    row = tally("the clock jumps back")
    jump = tmp_path / "jump"
    hook = f"""
        import os, time
        true = time.time
        time.time = lambda: true() - 1e8 * os.path.exists({str(jump)!r})
    """
    customise(monkeypatch, tmp_path / "python", hook)
    scene = Scene(tmp_path / "w", demo_folder, "clock", seeds=2, **FREQUENT)
    in_training(scene)
    jump.touch()
    row.injected += 1
    kill(scene.wait())  # the attempt that follows begins years before the one that died
    scene.finish()
    row.expect_none(**judge(tmp_path / "w", asked(scene.sweep, {}), undisturbed))
    results = scene.bridge.state.results.values()
    row.expect_none(wrong=sum(result.finished_at < result.started_at for result in results))


def test_what_a_dead_host_left_keeps_nobody_out(tmp_path: Path, tally: Tally):
    """Its pid may be another process's by now; its lock died with it, and its socket is nobody's."""
    row = tally("lock and socket of a dead host, its pid used again")
    for content in (str(os.getppid()).encode(), b"\xff" * 300, b""):
        (tmp_path / "host.lock").write_bytes(content)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(socket_path(tmp_path)))
        row.injected += 1
        with Bridge(tmp_path) as bridge:
            bridge.until_kind(p.CaughtUp)
        psutil.Process(bridge.events[0].host_pid).wait(PATIENCE)
