"""A worker that trains nothing: it speaks the protocol and leaves the files of a finished run.

A thousand of them run on one machine, so it imports neither msgspec nor the engine: 9 MB and 35 ms to start. Its files
are not synced, and it writes no journal: here the host is measured, and not the disk of one machine under a thousand.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

EPOCH_SECONDS = float(os.environ.get("SVHN_TUI_SIMULATE_EPOCH_SECONDS", "0"))
IMAGES = 10_000


def tell(kind: str, **fields: Any) -> None:
    """Send an event as one line, in one write."""
    os.write(1, json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode() + b"\n")


def run_id_of(spec: dict[str, Any]) -> str:
    """Name a run as `engine.core.spec` does, for specifications that state no default."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def finish(command: dict[str, Any], spec: dict[str, Any], run_id: str, accuracy: float) -> dict[str, Any]:
    """Leave what a finished run leaves, `result.json` last, and return that."""
    folder = Path(command["workspace"], "runs", run_id)
    folder.mkdir(mode=0o700)
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "model.keras").write_text(run_id)
    result = {
        "run_id": run_id, "spec": spec, "trainable_parameters": 789_258, "test_correct": round(IMAGES * accuracy),
        "test_images": IMAGES, "test_accuracy": accuracy, "test_loss": 1.5, "accuracy": accuracy, "loss": 1.2,
        "best_test_accuracy": accuracy, "best_epoch": 1, "slope": 0.0012345, "slope_error": 0.00012345,
        "seconds": 41.0, "started_at": 1.0, "finished_at": time.time(), "model_bytes": len(run_id),
        "model_sha256": hashlib.sha256(run_id.encode()).hexdigest(), "device": "cpu",
        "versions": {"keras": "3.11.3", "jax": "0.10.2"},
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    return result


def train(command: dict[str, Any], name: str) -> None:
    """Go through the epochs of a group."""
    specs, group = command["specs"], command["group"]
    runs = [run_id_of(spec) for spec in specs]
    tell("RunStarted", group=group, runs=runs, specs=specs, worker=name, device="cpu")
    accuracies = [0.5] * len(runs)
    for epoch in range(1, specs[0]["configuration"]["training"]["epochs"] + 1):
        time.sleep(EPOCH_SECONDS)  # as if it trained
        accuracies = [0.5 + 0.001 * epoch + int(run_id[:4], 16) / 1e6 for run_id in runs]
        loss = 2.345678 / epoch
        rows = [{"loss": loss, "accuracy": accuracy, "test_loss": loss, "test_correct": round(accuracy * IMAGES),
                 "test_images": IMAGES, "seconds": 0.6} for accuracy in accuracies]  # fmt: skip
        tell("EpochEnded", group=group, runs=runs, epoch=epoch, rows=rows, images_per_second=83_333.3)
    for spec, run_id, accuracy in zip(specs, runs, accuracies, strict=True):
        tell("RunFinished", result=finish(command, spec, run_id, accuracy))


def main() -> None:
    """Serve until the pipe ends."""
    name = sys.argv[sys.argv.index("--name") + 1]
    here = {"worker": name, "pid": os.getpid(), "node": "node7", "gpu": ""}
    tell("WorkerChanged", state="starting", **here)
    tell("WorkerChanged", state="ready", device="cpu", **here)
    for line in sys.stdin.buffer:
        command = json.loads(line)
        if command["kind"] == "Train":
            train(command, name)


if __name__ == "__main__":
    main()
