"""What a look at the disk and at the processes says when a fault is over."""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import h5py
import msgspec
import psutil

from engine import protocol as p
from engine.core.spec import RunSpec
from engine.storage import journal
from engine.training.training_loop import CHECKPOINT_EPOCHS
from tests.support.patience import PATIENCE


def weights(model: Path) -> dict[str, bytes]:
    """Every array of a `.keras` file, the optimizer's too."""
    arrays: dict[str, bytes] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()].tobytes()

    with zipfile.ZipFile(model) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(collect)
    return arrays


def repeated(run_folder: Path) -> int:
    """The most epochs that were trained again after any one break."""
    most = last = 0
    for event in journal.read(run_folder / "journal.jsonl").events:
        if isinstance(event, p.RunStarted):
            most = max(most, last - event.epoch)
        elif isinstance(event, p.EpochEnded):
            last = event.epoch
    return most


def is_whole(run_folder: Path, reference: Path) -> bool:
    """The result, the file it names and the curve are those of a run that nothing disturbed, of the same trainer."""
    try:
        result, other = (
            msgspec.json.decode((folder / "result.json").read_bytes(), type=p.RunResult)
            for folder in (run_folder, reference)
        )
        model = run_folder / "model.keras"
        measured = (result.test_correct, result.loss, result.test_loss, result.trained_by)
        curve = journal.history(run_folder / "journal.jsonl")[0]
        return (
            hashlib.sha256(model.read_bytes()).hexdigest() == result.model_sha256
            and measured == (other.test_correct, other.loss, other.test_loss, other.trained_by)
            and weights(model) == weights(reference / "model.keras")
            and curve.loss == journal.history(reference / "journal.jsonl")[0].loss
        )
    except (OSError, msgspec.MsgspecError):
        return False


def judge(
    workspace: Path, wanted: Iterable[RunSpec], reference: Path, *, interval: int = CHECKPOINT_EPOCHS
) -> dict[str, int]:
    """Count runs that are lost (or more than a checkpoint `interval` of them), doubled, or not as undisturbed ones."""
    asked = {spec.run_id for spec in wanted}
    finished = {path.parent.name for path in (workspace / "runs").glob("*/result.json")}
    indexed = [document["run_id"] for document in json.loads((workspace / "runs.json").read_text())["runs"].values()]
    runs = {run_id: workspace / "runs" / run_id for run_id in asked & finished}
    return {
        "lost": len(asked - finished)
        + len(asked - set(indexed))
        + sum(repeated(folder) > interval for folder in runs.values()),
        "doubled": len(indexed) - len(set(indexed)) + len(finished - asked),
        "wrong": sum(not is_whole(folder, reference / "runs" / run_id) for run_id, folder in runs.items()),
    }


def left_behind(runtime: str, seconds: float = PATIENCE) -> list[psutil.Process]:
    """Processes of this test that do not end by themselves, zombies included; `runtime` is its XDG_RUNTIME_DIR."""
    _, alive = psutil.wait_procs([process for process in _all_of(runtime) if process.is_running()], timeout=seconds)
    return alive


def _all_of(runtime: str) -> list[psutil.Process]:
    problems = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDG_RUNTIME_DIR") == runtime and process.pid != psutil.Process().pid:
                problems.append(process)
        except psutil.Error:
            continue
    return problems


def zombies(pids: Iterable[int]) -> list[int]:
    """Those that ended and that nobody waits for: one that is about to be reaped is given time."""
    deadline = time.monotonic() + PATIENCE
    while (left := list(filter(_is_zombie, pids))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
