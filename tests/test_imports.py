"""What each process loads: the screen and the host stay light."""

import json
import subprocess
import sys
import textwrap

import pytest

from engine.machine import backends

HEAVY = {"jax", "tensorflow", "keras", "numpy", "scipy", "matplotlib", "h5py"}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


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


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_keras_is_loaded_without_what_it_does_not_need(backend: str):
    """A model file gets what it imports."""
    trainer = {"jax": "jax_trainer", "tensorflow": "keras_trainer"}[backend]
    code = f"""
        from engine.machine import backends
        backends.prepare_{backend}()
        import engine.training.{trainer}, engine.training.training_loop, keras
        backends.settle_{backend}()
        keras.utils.set_random_seed(0)
        loaded = dict(sys.modules)
        import matplotlib, requests, jax
        sys.modules = loaded
    """
    other = {"jax": "tensorflow", "tensorflow": "jax"}[backend]
    assert loaded_by(textwrap.dedent(code)) & {other, *backends.UNNEEDED[backend]} == set()
