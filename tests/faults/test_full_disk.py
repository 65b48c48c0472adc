"""A whole run on a full disk, through a real host: it trains on, keeps its metrics, says so, and is written later."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import protocol as p
from engine.core.sweep import asked
from tests.faults.aftermath import judge
from tests.faults.conftest import Tally
from tests.faults.scene import EPOCHS, FREQUENT, Scene
from tests.support.bridge import worker_pids

SIZE_BYTES = 24 * 2**20


def limited(scene: Scene, root: Path) -> Callable[[], None]:
    """Let no file of host and workers grow any more; return what lifts that."""
    pids = [scene.host, *worker_pids(scene.bridge.state)]
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids]
    for pid, (_, hard) in zip(pids, before, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1_000, hard))

    def lift() -> None:
        for pid, limits in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

    return lift


def filled(scene: Scene, root: Path) -> Callable[[], None]:
    """Fill the file system to the last byte; return what makes room again."""
    filler = root / "filler"

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4_096))

    fill()
    scene.bridge.until(lambda state, event: isinstance(event, p.Noticed) and "A checkpoint" in event.text)
    fill()  # what the checkpoint that was half written had taken
    return filler.unlink


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "disk"
    root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", str(root)]
    if os.getuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small file system cannot be mounted here; the test with a limit on files covers it")
    yield root
    subprocess.run(["umount", "--lazy", str(root)], check=True)


def notices(scene: Scene) -> list[str]:
    return [event.text for event in scene.bridge.events if isinstance(event, p.Noticed)]


def train_through(root: Path, folder: Path, undisturbed: Path, fill: Callable[[Scene, Path], Callable[[], None]]):
    scene = Scene(root / "w", folder, "full", seeds=2, **FREQUENT)
    scene.bridge.until(lambda state, event: isinstance(event, p.CheckpointSaved))
    make_room = fill(scene, root)
    scene.bridge.until(lambda state, event: isinstance(event, p.EpochEnded) and event.epoch == EPOCHS)
    scene.bridge.until(lambda state, event: isinstance(event, p.Noticed) and "is trained but cannot" in event.text)
    finished = len(scene.bridge.state.results)
    before = notices(scene)
    make_room()
    scene.finish()
    assert finished == 0, "nothing counts as finished that is not on the disk"
    assert any("waits in memory" in text and "Training continues." in text for text in before)
    assert any("A checkpoint could not be written" in text for text in before)
    assert any("is written again; nothing is missing." in text for text in notices(scene)[len(before) :])
    litter = [path for path in (root / "w").rglob("*") if path.name.startswith(".")]
    return {**judge(root / "w", asked(scene.sweep, {}), undisturbed), "wrong": len(litter)}


@pytest.mark.slow
def test_a_run_trains_through_a_limit_on_files(demo_folder: Path, tmp_path: Path, undisturbed: Path, tally: Tally):
    row = tally("disk full through a whole run (file size limit)")
    row.injected += 1
    row.expect_none(**train_through(tmp_path, demo_folder, undisturbed, limited))


@pytest.mark.slow
def test_a_run_trains_through_a_full_disk(demo_folder: Path, small_disk: Path, undisturbed: Path, tally: Tally):
    row = tally("disk full through a whole run (tmpfs)")
    row.injected += 1
    row.expect_none(**train_through(small_disk, demo_folder, undisturbed, filled))
