"""What each process loads: the screen and the host stay light."""

import json
import subprocess
import sys

import pytest

HEAVY = {"jax", "tensorflow", "keras", "numpy", "scipy", "matplotlib", "h5py"}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps([*sys.modules]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return {name.split(".")[0] for name in json.loads(found.stdout)}


@pytest.mark.parametrize(
    "statement",
    [
        "import svhn_tui.app",
        "from svhn_tui.cli import bench, data, doctor, main, report, submission, train, workspace",
        "import engine.host.main",
        "import engine.__main__",
    ],
)
def test_nothing_heavy_is_loaded(statement: str):
    assert loaded_by(statement) & HEAVY == set()


def test_a_recorder_loads_no_library_that_trains_or_draws():
    assert loaded_by("from svhn_tui.keras import Recorder") & (HEAVY | {"textual", "tinydb"}) == set()


def test_the_bridge_loads_no_libraries_at_all():
    assert loaded_by("import engine.__main__") & {"msgspec", "tinydb", "textual", "asyncio"} == set()


def test_the_worker_trains_without_tensorflow():
    trainer = "import engine.training.jax_trainer, engine.training.training_loop"
    code = f"from engine.machine import backends; backends.prepare_jax(); {trainer}"
    code += "\nimport sys, keras; keras.utils.set_random_seed(0); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
