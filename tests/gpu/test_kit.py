"""The kit itself runs, small and on a CPU: what only a GPU's first minutes call must not have rotted by then."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.sections import verdict

SECTIONS = "parity,parts"


@pytest.mark.slow
def test_the_kit_trains_and_prints_one_json(tmp_path: Path):
    command = [sys.executable, "-m", "tests.gpu", "--small", "--sections", SECTIONS]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OUT": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, timeout=500)
    found = json.loads(done.stdout.splitlines()[-1])
    written = json.loads((tmp_path / "gpu.json").read_text())
    for name in SECTIONS.split(","):
        assert "error" not in written["sections"][name], written["sections"][name]
    assert found["sections"]["parity"]["float32"]["linear"]["max_weight"] == [0.0], "on a CPU it is the same program"


def test_deterministic_kernels_are_to_be_on_where_they_cost_less_than_five_percent():
    def found(cost: float, digest: str) -> dict[str, dict[str, object]]:
        plain, other = {"us_per_batch": 100.0}, {"us_per_batch": 100.0 + cost, "hash": "a"}
        return {"no cache, 1": plain, "64 units": plain, "64 units, deterministic": other, "deterministic": other,
                "deterministic, 2": {"hash": digest}}  # fmt: skip

    assert verdict(found(4, "a"))["deterministic_to_be_on"] is True
    assert verdict(found(6, "a"))["deterministic_to_be_on"] is False
    assert verdict(found(4, "b"))["deterministic_equal"] is False
    assert verdict({})["deterministic_to_be_on"] is None
