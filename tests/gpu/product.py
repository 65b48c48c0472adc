"""svhn-tui itself without a screen: Q2 and Q7 on demo data, what it reports, leaves on disk and takes of a card."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.gpu.box import smi
from tests.gpu.kit import Kit, Results

PROGRAM = [sys.executable, "-c", "from svhn_tui.cli.main import main; main()"]
LOAD = ("--query-gpu=utilization.gpu,memory.used,power.draw", "--format=csv,noheader,nounits")
NOTICES = ("Noticed", "RunFailed", "RunInterrupted", "Refused")


def product(kit: Kit, held: Results) -> None:
    """Run it as a user would: two groups of different configurations share a card."""
    _run(kit, held, groups=2)


def one_group_at_a_time(kit: Kit, held: Results) -> None:
    """The same with one group on a card at a time: what sharing gains or costs."""
    _run(kit, held, groups=1)


def _run(kit: Kit, held: Results, *, groups: int) -> None:
    from engine.machine import devices

    held["gpus_seen"] = [gpu.label for gpu in devices.choose_gpus().gpus]
    environment, workspace = _environment(kit, groups), kit.work / f"w{groups}"
    epochs = "2" if kit.small else "20"
    asked = ["run", "Q2", "Q7", "--epochs", epochs, "--data", str(_data(kit)), "--workspace", str(workspace), "--json",
             "--on-interrupt", "stop"]  # fmt: skip
    began = time.monotonic()
    with _watched(held):
        process = subprocess.Popen([*PROGRAM, *asked], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, start_new_session=True)  # fmt: skip
        limit = max(20.0, min(180.0, kit.left() - 8))
        timer = threading.Timer(limit, lambda: os.killpg(process.pid, signal.SIGINT))
        timer.start()
        _follow(process, began, held)
        timer.cancel()
    held["seconds"], held["exit"] = round(time.monotonic() - began, 1), process.returncode
    _look_at_files(workspace, held)
    for name, seconds in (("stop", 30.0), ("doctor", min(60.0, kit.left()))):
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run([*PROGRAM, name, "--workspace", str(workspace)], env=environment,
                                  capture_output=True, text=True, timeout=seconds)  # fmt: skip
            held[name] = (done.stdout + done.stderr).strip().splitlines()[:25]


def _data(kit: Kit) -> Path:
    """Return a folder in the assignment's layout, written once, from the images that are drawn already."""
    import numpy as np

    from engine.data.pairing import TEST_FILE, TRAIN_FILE

    folder = kit.work / "data"
    if folder.exists():
        return folder
    folder.mkdir()
    images = kit.images(kit.timed)
    train, test = (images.train_images, images.train_labels), (images.test_images, images.test_labels)
    for name, (pixels, labels) in ((TRAIN_FILE, train), (TEST_FILE, test)):
        labels = labels.astype("<U1").reshape(-1, 1)
        np.savez(folder / name, images=np.ascontiguousarray(pixels.transpose(2, 3, 1, 0)), labels=labels)
    return folder


def _environment(kit: Kit, groups: int) -> dict[str, str]:
    folders = {f"XDG_{name}": str(kit.work) for name in ("RUNTIME_DIR", "CONFIG_HOME")}
    path = f"{Path.cwd()}:{os.environ.get('PYTHONPATH', '')}"
    kept = {name: value for name, value in os.environ.items() if name != "GPU_CHECK_CACHE"}
    return {**kept, **folders, "XDG_CACHE_HOME": str(kit.work / f"cache-{groups}"), "PYTHONPATH": path,
            "SVHN_TUI_GROUPS_ON_A_CARD": str(groups)}  # fmt: skip


@contextlib.contextmanager
def _watched(held: Results) -> Iterator[None]:
    """Sample the card's load within, where there is nvidia-smi."""
    samples: list[list[float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            with contextlib.suppress(ValueError):
                samples.append([float(word) for word in smi(*LOAD).splitlines()[0].split(",")])

    if shutil.which("nvidia-smi"):
        threading.Thread(target=watch, daemon=True).start()
    yield
    over.set()
    if samples:
        use, memory, power = zip(*samples, strict=True)
        held["gpu_percent_mean_max"] = [round(sum(use) / len(use), 1), max(use)]
        held["memory_MB_max"], held["power_W_max"] = max(memory), max(power)


def _follow(process: "subprocess.Popen[str]", began: float, held: Results) -> None:
    """Read the program's events until it ends."""
    kinds, first, on, noticed = Counter[str](), dict[str, float](), set[str](), list[str]()
    seconds: dict[int, list[float]] = {}
    assert process.stdout is not None and process.stderr is not None
    complaints: list[str] = []
    reader = threading.Thread(target=lambda: complaints.extend(process.stderr or ()), daemon=True)
    reader.start()
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            kind = event.get("kind", "?")
            kinds[kind] += 1
            first.setdefault(kind, round(time.monotonic() - began, 2))
            on |= {event["device"]} if event.get("device") else set()
            if kind == "EpochEnded":
                seconds.setdefault(len(event["rows"]), []).append(event["rows"][0].get("seconds") or 0.0)
            if kind in NOTICES:
                noticed.append(str(event.get("text") or event.get("reason"))[:200])
    process.wait()
    reader.join()
    held |= {"kinds": dict(kinds), "first_s": first, "devices": sorted(on), "noticed": noticed[:6]}
    held["stderr"] = [line.rstrip() for line in complaints[-5:]]
    held["epoch_s_by_lanes"] = {
        lanes: [round(min(some), 4), round(sorted(some)[len(some) // 2], 4), len(some)]
        for lanes, some in seconds.items()
    }


def _look_at_files(workspace: Path, held: Results) -> None:
    results = [json.loads(path.read_text()) for path in sorted((workspace / "runs").glob("*/result.json"))]
    held["finished"] = len(results)
    held["result_device"] = sorted({result.get("device", "") for result in results})
    held["result_versions"] = results[0].get("versions") if results else None
    held["provenance"] = results[0].get("provenance") if results else None
    held["sha256_first"] = [result.get("model_sha256", "")[:12] for result in results[:3]]
    logs = [path.read_text(errors="replace") for path in (workspace / "runs").glob("*/engine.log")]
    lines = {re.sub(r"[\d:.]{6,}|0x[0-9a-f]+", "#", line)[:200] for log in logs for line in log.splitlines()}
    held["engine_log_lines"] = sorted(lines)[:12]
