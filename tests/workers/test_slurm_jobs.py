"""The jobs of workers in Slurm: none is left behind that nobody uses."""

import asyncio
import os
from pathlib import Path

import pytest

from engine.scheduling.slot import Slot
from engine.workers.process import Worker, worker_end
from engine.workers.slurm_jobs import Allocations

SQUEUE = """#!/bin/sh
[ -e {folder}/answers ] || exit 1
[ -e {folder}/cancelled ] || printf '7|%s|RUNNING|N/A|N/A|node|None\\n' "$(cat {folder}/name)"
"""
SCANCEL = "#!/bin/sh\necho $* > {folder}/cancelled\n"


class Ended(Worker):
    """A worker whose process is gone."""

    def __init__(self, job_name: str) -> None:
        self.slot, self.job_name, self.last_line, self.epoch_seconds = Slot("slurm0"), job_name, "", 0.0


@pytest.mark.parametrize("host_ends", [False, True])
async def test_a_job_whose_worker_ended_while_slurm_was_silent_is_cancelled_once_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_ends: bool
):
    for name, script in (("squeue", SQUEUE), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(script.format(folder=tmp_path))
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("engine.workers.slurm_jobs.SOONEST_SECONDS", 0.01)
    allocations = Allocations(tmp_path, tuple, lambda worker, changed: None, lambda worker: None)
    (tmp_path / "name").write_text(worker_name := allocations.new_name())
    if host_ends:
        allocations.close()
    how = await allocations.end_of(Ended(worker_name), worker_end(-9))
    assert how.reason == worker_end(-9).reason, "Slurm did not say more"
    assert not (tmp_path / "cancelled").exists()
    (tmp_path / "answers").touch()
    async with asyncio.timeout(60):
        while allocations.is_watching:
            await asyncio.sleep(0.01)
        await allocations.cancel_left()
    assert (tmp_path / "cancelled").read_text().split() == ["7"]
    allocations.close()
