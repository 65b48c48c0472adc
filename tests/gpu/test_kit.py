"""The kit itself runs, small and on a CPU: what only a GPU's first minutes call must not have rotted by then."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from engine.machine import gpus, nvml_process
from engine.machine.xla_flags import DETERMINISTIC_FLAG, LOOP_FLAG
from tests.gpu import box, speed, variants
from tests.gpu.kit import Kit
from tests.gpu.variants import verdict
from tests.support.fake_nvml import pynvml

SECTIONS = ("parity", "determinism", "timing", "parts", "estimate")
"""Those in this process and one child. The others start a process or more for each figure."""


@pytest.mark.slow
def test_the_kit_trains_and_prints_one_json(tmp_path: Path):
    command = [sys.executable, "-m", "tests.gpu", "--small", "--sections", ",".join(SECTIONS)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OUT": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, timeout=500)
    sections = json.loads(done.stdout.splitlines()[-1])["sections"]
    written = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    for name in SECTIONS:
        assert "error" not in written[name], written[name]
    assert sections["parity"]["float32"]["linear"]["max_weight"] == [0.0], "on a CPU it is the same program"
    equal = {name: value for name, value in sections["determinism"]["linear"].items() if name.endswith("_equal")}
    assert equal == dict.fromkeys(("twice_equal", "compiled_anew_equal", "resumed_equal", "lane_equal"), True)
    assert sections["timing"]["float32"]["linear x3"]["us_per_batch"] > 0


BOX = {"absl-py", "h5py", "ml-dtypes", "numpy", "packaging", "scipy", "jax", "matplotlib", "pillow"}
"""What a box that has JAX has as well."""


def needed(packages: set[str]) -> set[str]:
    """Return these packages and what they ask for, and so on, without what the box has."""
    every: set[str] = set()
    while packages := {canonicalize_name(name) for name in packages} - every - BOX:
        every |= packages
        asked = [Requirement(line) for name in packages for line in importlib.metadata.requires(name) or ()]
        packages = {some.name for some in asked if some.marker is None or some.marker.evaluate({"extra": ""})}
    return every


def test_the_wheels_for_a_box_without_a_network_lack_nothing_that_the_program_imports():
    script = (Path(__file__).parents[2] / "scripts/kit_wheels.sh").read_text()
    carried = {canonicalize_name(name) for name in re.search("wanted='(.*)'", script)[1].split("|")}  # type: ignore[index]
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    asked = {Requirement(line).name for line in project["dependencies"]} - {"tensorflow"}
    assert needed(asked) - carried == set(), "on the box the program would end before it trains"


def test_nvml_is_asked_each_question_and_then_by_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "pynvml", pynvml)
    monkeypatch.setattr(gpus, "NvmlProcess", nvml_process.Nvml)
    monkeypatch.setenv("FAKE_NVML", '{"cards": [{"uuid": "GPU-a", "lacks": ["power"]}]}')
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.delenv(name, raising=False)
    held: dict[str, object] = {}
    box.nvml(Kit(small=True, precision="float32", seconds=60, work=tmp_path), held)
    assert (held["uuid"], held["product_gpus"], len(held["product_samples"])) == ("GPU-a", 1, 1)
    assert str(held["power"]).startswith("raises")
    assert held["is_jaxs_name"] is False, "JAX was not asked"


def test_what_is_timed_is_asked_for_once_and_first_what_the_assignment_needs():
    timed = speed.plan("float32", small=False)
    assert len(set(timed)) == len(timed)
    assert [name for _, name, lanes in timed[:6] if lanes == 10] == list(speed.NETWORKS)


def test_the_assignment_is_estimated_from_the_epochs_that_were_timed():
    names = {*speed.NETWORKS}
    rows = {f"{name} x{lanes}": {"epoch_s": 0.1 * lanes, "group_s": 2.0} for name in names for lanes in (1, 3, 10)}
    estimate = speed.estimated(rows)
    assert estimate["groups"] == 15
    lanes = 1 + 4 * 10 + 8 * 3 + 2 * 7  # an epoch takes as long as it has lanes, those between two measured ones too
    assert (estimate["training_s"], estimate["compiling_s"]) == (round(100 * 0.1 * lanes, 1), 30.0)
    assert speed.estimated({}) == {"missing": "linear"}
    rows = {"64 x10": {"us_per_run_batch": 4.0}, "64 x20": {"us_per_run_batch": 3.0}}
    assert (speed.gain(rows, "64"), speed.gain(rows, "256")) == (25.0, None)


def test_each_variant_has_a_name_and_flags_of_gpus_are_tried_on_gpus_alone():
    on_gpu, on_cpu = (variants.plan(LOOP_FLAG, on_gpu=is_it) for is_it in (True, False))
    assert len({some.name for some in on_gpu}) == len(on_gpu)
    assert not any(DETERMINISTIC_FLAG in some.flags for some in on_cpu)
    assert all(LOOP_FLAG not in some.flags for some in on_gpu if some.name in ("steps one by one", "stacked logits"))


def test_deterministic_kernels_are_to_be_on_where_they_cost_less_than_five_percent():
    def sections_of(cost: float, digest: str) -> dict[str, dict[str, object]]:
        plain, other = {"us_per_batch": 100.0}, {"us_per_batch": 100.0 + cost, "hash": "a"}
        return {"no cache, 1": plain, "64 units": plain, "64 units, deterministic": other, "deterministic": other,
                "deterministic, 2": {"hash": digest}}  # fmt: skip

    assert verdict(sections_of(4, "a"))["deterministic_to_be_on"] is True
    assert verdict(sections_of(6, "a"))["deterministic_to_be_on"] is False
    assert verdict(sections_of(4, "b"))["deterministic_equal"] is False
    assert verdict({})["deterministic_to_be_on"] is None
    warm = {"cache cold": {"hash": "a", "digest": "b"}, "cache warm": {"hash": "a", "digest": "c"}}
    assert (verdict(warm)["cached_equal"], verdict(warm)["cached_digest_equal"]) == (True, False)
