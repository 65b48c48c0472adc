"""Microseconds a batch, what an epoch costs beside its batches, and what the whole assignment would take."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.gpu.box import smi
from tests.gpu.common import NETWORKS, SHAPE, group_of, specs_of
from tests.gpu.kit import Kit, Results, stopwatch

RESERVED = 0.36
"""Of the time, the share that is kept for Keras's fit, the program itself and the variants."""
ASSIGNMENT = (("linear", 1, 1), ("256", 10, 2), ("64", 10, 1), ("1024", 10, 1))
"""Network, lanes, groups."""
DEEP = {"64,64": "64", "64,256": "64", "256,64": "256", "256,256": "256,256,256", "1024,256": "1024,256",
        "256,1024": "256,256,256", "64,64,64": "64", "256,256,256": "256,256,256"}  # fmt: skip
"""Deep networks of the assignment, and the timed one whose figure each takes."""
FINALISTS = ("1024,256", "256,256,256")
Timed = tuple[str, str, int]
"""Precision, network, lanes."""


def plan(precision: str, *, small: bool) -> tuple[Timed, ...]:
    """Return what is timed, what matters most first: the time may be over before the end."""
    other = "float32" if precision == "default" else "default"
    if small:
        return (precision, "linear", 3), (precision, "linear", 1)
    wanted = [(precision, name, 10) for name in NETWORKS]
    wanted += [(precision, name, 20) for name in ("64", "256")]
    wanted += [(precision, "64", 40)]
    wanted += [(precision, name, 1) for name in ("linear", "64", "256", "1024")]
    wanted += [(precision, name, 3) for name in ("1024,256", "256,256,256", "64")]
    wanted += [(other, name, 10) for name in ("256", "64", "1024", "1024,256")]
    wanted += [(precision, name, lanes) for lanes in (1, 3) for name in NETWORKS]
    wanted += [(other, name, 1) for name in ("256", "64")]
    return tuple(dict.fromkeys(wanted))


def timing(kit: Kit, held: Results) -> None:
    """Time two warm epochs after a first one; seconds to compile; memory."""
    for timed in plan(kit.precision, small=kit.small):
        precision, name, lanes = timed
        if kit.left() < (20 if kit.small else RESERVED * kit.total):
            held.setdefault("not_timed", []).append(f"{precision} {name} x{lanes}")
            continue
        try:
            row = _timed(kit, timed)
        except Exception as error:  # noqa: BLE001  one that does not fit the card hides no other
            row = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        held.setdefault(precision, {})[f"{name} x{lanes}"] = row
        print(f"    {precision} {name} x{lanes}: {row.get('us_per_batch', row)}", file=sys.stderr, flush=True)
        kit.write()


def _timed(kit: Kit, timed: Timed) -> Results:
    import jax

    precision, name, lanes = timed
    images, batches = kit.images(kit.timed), -(-kit.timed[0] // 32)
    began = time.perf_counter()
    group = group_of(specs_of(NETWORKS[name], "relu", range(lanes)), images, precision)
    compiled = time.perf_counter() - began
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        group.train_epoch()
        seconds.append(time.perf_counter() - began)
    first, *warm = seconds
    stats = jax.devices()[0].memory_stats() or {}
    analysis = group._program._compiled.memory_analysis()
    row = {
        "group_s": round(compiled, 2),
        "first_epoch_s": round(first, 4),
        "epoch_s": round(min(warm), 4),
        "us_per_batch": round(1e6 * min(warm) / batches, 2),
        "us_per_run_batch": round(1e6 * min(warm) / batches / lanes, 2),
        "spread": round(max(warm) / min(warm), 3),
        "peak_MB": round(stats.get("peak_bytes_in_use", 0) / 1e6),
        "in_use_MB": round(stats.get("bytes_in_use", 0) / 1e6),
        "temp_MB": round(analysis.temp_size_in_bytes / 1e6, 1) if analysis else None,
    }
    with contextlib.suppress(ValueError, IndexError):
        row["smi_MB"] = int(smi("--query-gpu=memory.used", "--format=csv,noheader,nounits").split()[0])
    return row


def parts(kit: Kit, held: Results) -> None:
    """Time what an epoch and a run cost outside the device: orders, transfers, files."""
    import jax
    import numpy as np

    from engine import protocol as p
    from engine.training.shuffling import order_of

    with stopwatch(held, "orders_ms"):
        orders = np.stack([order_of(seed, 0, kit.timed[0]) for seed in range(kit.lanes)])
    with stopwatch(held, "orders_to_device_ms"):
        jax.block_until_ready(jax.device_put(orders))
    hidden = () if kit.small else NETWORKS["64"]
    group = group_of(specs_of(hidden, "relu", range(kit.lanes)), kit.images(kit.timed), kit.precision)
    group.train_epoch()
    with stopwatch(held, "snapshot_of_a_lane_ms"):
        group.snapshot(0, p.History())
    with tempfile.TemporaryDirectory() as folder:
        for lane, name in enumerate(("save_keras_ms", "save_keras_again_ms")):
            with stopwatch(held, name, 1):
                group.finish(lane).save(Path(folder) / f"{lane}.keras", SHAPE)
    with stopwatch(held, "activity_ms", 1):
        group.finish(0).activity()


def estimate(kit: Kit, held: Results) -> None:
    """Estimate the assignment, 79 runs of 100 epochs, from the epochs that were timed."""
    timed = kit.sections.get("timing", {})
    for precision in ("default", "float32"):
        held[precision] = estimated(timed.get(precision, {}))
    rows = timed.get(kit.precision, {})
    held["twenty_lanes_gain_percent"] = {name: gain(rows, name) for name in ("64", "256")}
    held["forty_lanes_gain_percent"] = {"64": gain(rows, "64", 40)}
    held["note"] = "files, checkpoints and start not included"


def estimated(rows: Mapping[str, Results]) -> Results:
    """Return the seconds of the assignment, or the network that was not timed. Pure.

    Args:
        rows: what was timed, by `network xlanes`.
    """
    epochs: dict[str, dict[int, float]] = {}
    for key, row in rows.items():
        name, _, lanes = key.rpartition(" x")
        if "epoch_s" in row:
            epochs.setdefault(name, {})[int(lanes)] = row["epoch_s"]
    groups = tuple(_groups())
    if missing := [name for name, _ in groups if name not in epochs]:
        return {"missing": missing[0]}
    compiles = [row["group_s"] for row in rows.values() if "group_s" in row]
    training = sum(100 * _epoch(epochs[name], lanes) for name, lanes in groups)
    compiling = sum(compiles) / max(1, len(compiles)) * len(groups)
    return {"training_s": round(training, 1), "groups": len(groups), "compiling_s": round(compiling, 1),
            "all_s": round(training + compiling, 1)}  # fmt: skip


def gain(rows: Mapping[str, Results], name: str, lanes: int = 20) -> float | None:
    """Return how many percent less a run takes with so many lanes than with ten; None where it was not timed. Pure."""
    ten, more = (rows.get(f"{name} x{some}", {}).get("us_per_run_batch") for some in (10, lanes))
    return round(100 * (1 - more / ten), 1) if ten and more else None


def _groups() -> Iterator[tuple[str, int]]:
    for name, lanes, count in ASSIGNMENT:
        yield from [(name, lanes)] * count
    for name in DEEP.values():
        yield name, 3
    for name in FINALISTS:
        yield name, 7


def _epoch(known: Mapping[int, float], lanes: int) -> float:
    """Return the seconds of an epoch with so many lanes: measured, on the line between two, or in proportion."""
    if lanes in known:
        return known[lanes]
    below, above = [some for some in known if some < lanes], [some for some in known if some > lanes]
    if below and above:
        low, high = max(below), min(above)
        return known[low] + (known[high] - known[low]) * (lanes - low) / (high - low)
    nearest = min(known, key=lambda some: abs(some - lanes))
    return known[nearest] * max(1.0, lanes / nearest)
