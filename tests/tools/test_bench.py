"""Who trains when in the benchmark, and on what: side by side on a processor, one at a time on a card."""

import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from engine import protocol as p
from engine.machine import child_process
from engine.machine.system import usable_cores
from engine.tools import bench_contenders as bench
from engine.tools import machine_limits
from engine.tools.bench_contenders import FitCard
from engine.training.native.library import Library
from svhn_tui.cli.bench import tables
from tests.support.scenes import DATA


class Noted:
    """A contender that only takes notes."""

    options = ""
    runs = 1

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes
        notes.append(f"+{name}")

    def epochs(self, count: int) -> list[float]:
        self.notes.append(self.name)
        return [1.0] * count

    def close(self) -> int:
        self.notes.append(f"-{self.name}")
        return 7


@pytest.mark.parametrize(
    ("at_once", "order"),
    [(True, "+a +b a b a b a b -a -b"), (False, "+a a a a -a +b b b b -b")],
    ids=["processor", "card"],
)
def test_on_a_card_one_contender_is_over_before_the_next_begins(at_once: bool, order: str):
    notes: list[str] = []
    timed = bench.time_in_turn([partial(Noted, name, notes) for name in "ab"], 2, "64", at_once=at_once)
    assert " ".join(notes) == order
    assert [(len(side.seconds), side.peak_bytes) for side in timed] == [(6, 7), (6, 7)]


def test_fit_trains_on_the_card_that_the_engine_has_or_on_none():
    assert FitCard(None, "tensorflow").environment == {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    assert FitCard("GPU-b", "jax").environment == {"CUDA_VISIBLE_DEVICES": "GPU-b", "JAX_PLATFORMS": "cuda"}


def test_where_tensorflow_sees_no_gpu_fit_is_keras_on_jax():
    assert bench.fit_card("GPU-0").backend == "jax", "there is none here"
    assert bench.fit_card(None) == FitCard(None, "tensorflow")


def test_on_a_card_runs_an_hour_take_the_place_of_shares_of_the_processor():
    network = {
        "hidden": (64,), "batches": 1563, "trainer": "jax", "ratio": 40.0, "tuned_ratio": 20.0, "fit_backend": "jax",
        "images_per_second": 1e6, "engine_workers": 10, "share_of_multiply_adds": None, "share_of_bandwidth": None,
        "multiply_adds_per_second": None,
        "fit_peak_bytes": 10**9, "engine_peak_bytes": 10**9, "tuned_range": (90, 110),
    }  # fmt: skip
    for side, time in {"fit": 200, "tuned_fit": 100, "jax": 5, "engine": 5}.items():
        network |= {f"{side}_us_per_batch": time, f"{side}_range": (time, time)}
    measured = {
        "networks": [network], "gpu": "NVIDIA H100", "cores": 16, "bandwidth_bytes_per_second": None,
        "first_epoch_seconds": {"cold": 9.0, "warm": 2.0},
        "assignment_hours": {"fit": 9.0, "tuned_fit": 5.0, "jax": 0.1, "engine": 0.1},
    }  # fmt: skip
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(tables(measured))
    text = console.export_text()
    assert "One NVIDIA H100, one contender at a time" in text
    assert "fit: runs/h" in text and "JAX" in text
    row = next(line for line in text.splitlines() if line.endswith("JAX") and line.startswith("64"))
    assert row.split() == ["64", "112", "216", "2,021", "JAX"]


class Counted(Library):
    """A library in which a round is 256 multiply-adds."""

    def __init__(self) -> None:
        self.rounds: list[int] = []

    def multiply_adds(self, rounds: int) -> int:
        self.rounds.append(rounds)
        return 256 * rounds


def test_the_cores_multiply_at_once_in_every_round():
    library = Counted()
    cores = bench.Cores(library)
    seconds = cores.epochs(2)
    cores.close()
    assert len(seconds) == 2 * bench.BURSTS and min(seconds) > 0
    _, *rounds = library.rounds
    assert rounds == [int(bench.BURST_MULTIPLY_ADDS / 256)] * 2 * bench.BURSTS * len(usable_cores())


IMAGES = p.DataSet(
    fingerprint="0" * 64, name="x", train_path="a", test_path="b", train_images=3_200, test_images=640,
    input_shape=(100,), train_counts=(), test_counts=(), labels=tuple("0123456789"),
)  # fmt: skip


def test_the_limit_counts_products_adam_and_evaluation():
    """Kernels of 100 x 8 and 8 x 10 with 18 biases; nothing goes back to the pixels."""
    products = 32 * (2 * 800 + 3 * 80) + 6.4 * 880
    assert machine_limits.multiply_adds_per_batch((100, 8, 10), 6.4) == products + 4 * (880 + 18)


def test_bytes_that_have_to_move_are_pixels_and_what_the_caches_do_not_hold():
    pixels = 38.4 * 100
    assert machine_limits.bytes_per_batch(1_000, IMAGES, 100, 1, float("inf")) == pixels
    assert machine_limits.bytes_per_batch(1_000, IMAGES, 100, 2, 16_000) == pixels + 2 * (12_000 - 8_000)


def test_a_cache_that_cores_share_counts_once(tmp_path: Path):
    for core in usable_cores():
        for index, (level, size, cores) in enumerate(
            [("1", "48K", core), ("2", "1024K", core), ("3", "32768K", "all")]
        ):
            folder = tmp_path / f"cpu{core}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, text in {"level": level, "size": size, "shared_cpu_list": cores}.items():
                (folder / name).write_text(f"{text}\n")
    assert machine_limits.cache_bytes(tmp_path) == 1024 * (1024 * len(usable_cores()) + 32768)
    assert machine_limits.cache_bytes(tmp_path / "none") == float("inf")


def test_fit_is_given_the_layout_that_the_data_needs(monkeypatch: pytest.MonkeyPatch):
    given: list[str] = []

    def tool(module: str, *options: str) -> child_process.ChildCommand:
        given.extend((module, *options))
        return child_process.ChildCommand([sys.executable, "-c", "print('{}')"], {})

    monkeypatch.setattr(bench.child_process, "tool", tool)
    data = msgspec.structs.replace(DATA, layout="NHWC")
    bench.Fit(data, "64", FitCard(None, "jax"), tuned=True).close()
    assert given[0] == "engine.tools.bench_fit"
    assert given[given.index("--layout") + 1] == "NHWC" and "--tuned" in given
