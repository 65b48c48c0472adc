"""What a run computes, and which code runs, follows from what was asked: not from the user's folder or environment."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.machine import child_process
from engine.machine.child_process import (
    outside_allocation,
    program_environment,
    srun_environment,
    training_environment,
)
from engine.machine.user_folders import cache_folder
from engine.scheduling.slot import Slot
from engine.workers import process
from tests.support.bridge import Bridge
from tests.support.hostile_folder import hostile_folder
from tests.support.patience import PATIENCE
from tests.support.terminal import PROGRAM
from tests.training.test_training import weights_of

FAST = Configuration(Network((32,), "relu"), Training(epochs=2))
CONFIGURATIONS = (
    FAST, *(Configuration(FAST.network, Training(epochs=2, trainer=trainer)) for trainer in ("jax", "keras-fit"))
)  # fmt: skip
HOSTILE = {
    "KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1", "KERAS_NNX_ENABLED": "true",
    "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cuda", "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16", "JAX_DISABLE_JIT": "1",
    "JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_DEBUG_NANS": "1", "JAX_RANDOM_SEED_OFFSET": "7", "JAX_NO_SUCH_THING": "?", "XLA_FLAGS": "--no_such_flag=1",
    "TF_ENABLE_ONEDNN_OPTS": "0", "TF_XLA_FLAGS": "--tf_xla_auto_jit=2", "TF_NUM_INTRAOP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "0", "TF_DETERMINISTIC_OPS": "1", "TF_CONFIG": "{", "JAX_TRANSFER_GUARD": "disallow",
    "NPY_DISABLE_CPU_FEATURES": "AVX2", "MKL_CBWR": "COMPATIBLE", "OMPI_COMM_WORLD_RANK": "1", "PMIX_RANK": "1",
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Prescott", "NVIDIA_TF32_OVERRIDE": "1", "PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "5",
    "PYTHONWARNINGS": "error", "GLIBC_TUNABLES": "glibc.malloc.perturb=165", "SLURM_JOB_ID": "12345",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose keras.json is a pipe: who reads it, whatever would stand in it, waits for ever."""
    (tmp_path / "home" / ".keras").mkdir(parents=True)
    os.mkfifo(tmp_path / "home" / ".keras" / "keras.json")
    return tmp_path / "home"


def trained(workspace: Path, folder: Path, **environment: str) -> dict[str, p.RunResult]:
    with Bridge(workspace, **environment) as bridge:
        data = bridge.open(folder)
        bridge.send(p.Submit(sweep=Sweep("s", data.fingerprint, CONFIGURATIONS, (0,))))
        while len(bridge.state.results) < len(CONFIGURATIONS):  # patient with a busy machine, as long as it goes on
            bridge.until(lambda state, event: isinstance(event, p.EpochEnded | p.RunFinished | p.WorkerChanged))
            assert not [event for event in bridge.events if isinstance(event, p.RunFailed)]
        bridge.end()
        return bridge.state.results


@pytest.mark.slow
def test_hostile_surroundings_change_no_bit_of_what_is_trained_nor_what_verify_says(
    demo_folder: Path, tmp_path: Path, home: Path
):
    clean = trained(tmp_path / "clean", demo_folder)
    (run_id, *_) = clean
    file = tmp_path / "clean" / "runs" / run_id / "model.keras"
    expected = verified(file, demo_folder, **os.environ)
    assert expected["test_correct"] == clean[run_id].test_correct
    hostile = {**HOSTILE, "HOME": str(home)}
    run = trained(tmp_path / "hostile", demo_folder, **hostile)
    assert run.keys() == clean.keys()
    for some in clean:
        pairs = zip(weights_of(tmp_path / "hostile", some), weights_of(tmp_path / "clean", some), strict=True)
        assert all((one == other).all() for one, other in pairs), clean[some].trained_by
        assert (run[some].loss, run[some].test_loss) == (clean[some].loss, clean[some].test_loss)
    assert verified(file, demo_folder, **{**os.environ, **hostile}) == expected
    assert (home / ".keras" / "keras.json").is_fifo()


def verified(file: Path, data: Path, **environment: str) -> dict[str, object]:
    environment.pop("PYTHONWARNINGS", None)  # an error for the program itself, which is the user's wish
    done = subprocess.run([*PROGRAM, "verify", str(file), "--data", str(data), "--json"], env=environment,
                          capture_output=True, check=False, timeout=PATIENCE)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    outcome: dict[str, object] = msgspec.json.decode(done.stdout)
    return outcome


def test_training_gets_what_it_needs_and_nothing_else():
    needed = {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "1", "LD_LIBRARY_PATH": "/l",
              "https_proxy": "x", "SVHN_TUI_X": "1", "XDG_CACHE_HOME": "/c", "SLURM_JOB_ID": "1"}  # fmt: skip
    secret = {"AWS_SECRET_ACCESS_KEY": "x", "LD_PRELOAD": "x.so", "PYTHONHOME": "/p", "PYTHONSTARTUP": "x.py"}
    hostile = {name: value for name, value in HOSTILE.items() if name != "SLURM_JOB_ID"}
    assert training_environment({**needed, **secret, **hostile}) == needed


def test_an_empty_entry_in_a_list_of_folders_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    given = {"PATH": "/bin::.:bin:/usr/bin:", "LD_LIBRARY_PATH": ":", "PYTHONPATH": ":.:/nowhere"}
    assert program_environment(given) == {"PATH": "/bin:/usr/bin"}


def test_the_variables_of_an_allocation_are_not_handed_on_and_those_of_the_site_are():
    job = {"SLURM_JOB_ID": "7", "SLURM_JOBID": "7", "SLURM_STEP_ID": "0", "SLURM_CPU_BIND": "x", "SLURMD_NODENAME": "n",
           "SBATCH_GRES": "x", "PMI_RANK": "0", "PMIX_RANK": "0", "CUDA_VISIBLE_DEVICES": "3", "SRUN_DEBUG": "3",
           "SLURM_EXPORT_ENV": "NONE"}  # fmt: skip
    site = {"SLURM_CONF": "/etc/slurm.conf", "SLURM_CLUSTERS": "a", "SLURM_ACCOUNT": "me", "PATH": "/bin"}
    assert srun_environment({**job, **site}) == site
    assert outside_allocation({**job, **site}) == site | {"CUDA_VISIBLE_DEVICES": "3"}
    assert srun_environment({"CUDA_VISIBLE_DEVICES": "3"}) == {"CUDA_VISIBLE_DEVICES": "3"}


def test_every_worker_is_isolated_wherever_it_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    for slot in (Slot("core0", (0,)), Slot("slurm0", slurm=()), Slot("box", box="box")):
        command = process.command_of(slot)
        assert "-P" in " ".join(command.argv).split()
        assert command.environment.keys() & {"SLURM_JOB_ID", "PYTHONPATH"} == set()


def test_the_program_found_through_pythonpath_starts_children_that_find_it(tmp_path: Path):
    for package in ("engine", "svhn_tui"):
        (tmp_path / package).symlink_to(Path(__file__).parents[2] / package)
    (tmp_path / "other/numpy").mkdir(parents=True)
    (tmp_path / "other/numpy/__init__.py").touch()  # as a cluster's modules have it
    look = "from engine.machine import child_process as c; print(c.program('engine').environment.get('PYTHONPATH'))"
    path = os.pathsep.join([str(tmp_path), str(tmp_path / "other")])
    done = subprocess.run([sys.executable, "-P", "-c", look], env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == str(tmp_path)


def test_packages_of_a_clusters_modules_are_not_taken_for_the_programs_own(tmp_path: Path):
    for name in ("typer", "textual", "numpy", "jax"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('built for another Python')")
    look = "import svhn_tui.cli.main, numpy; from engine.machine import child_process as c; print(c.program('engine'))"
    done = subprocess.run([sys.executable, "-P", "-c", look], env={**os.environ, "PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "PYTHONPATH" not in done.stdout


# --- the current folder ----------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    return hostile_folder(tmp_path / "desk", tmp_path / "marker")


def commands(desk: Path, data: Path) -> list[tuple[str, ...]]:
    """Return the commands that work in this folder, each after what it needs; bench has a test of its own."""
    source = ("--data", str(data))
    return [
        ("doctor",), ("data", "demo", "drawn", "--train", "100", "--test", "20"), ("data", "check", "drawn"),
        ("run", "Q2", *source, "--epochs", "1"), ("run", "Q2", *source), ("status", "--json"), ("answers", "--json"),
        ("runs", "--json"), ("pack", "packed.zip"), ("import", "packed.zip", "-w", "other"), ("stop", "-w", "other"),
        ("export", "out"), ("verify", "out/Q2.keras", *source), ("stop",), ("doctor",),
    ]  # fmt: skip


@pytest.mark.slow
def test_nothing_of_the_current_folder_is_executed(desk: Path, demo_folder: Path, tmp_path: Path):
    environment = {**os.environ, "PATH": f":{os.environ['PATH']}", "LD_LIBRARY_PATH": ":"}
    environment.pop("PYTHONPATH", None)
    installed = [sys.executable, "-P", *PROGRAM[1:]]  # a script in bin/ does not search the current folder either
    for command in commands(desk, demo_folder):
        done = subprocess.run([*installed, *command], cwd=desk, env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=600, check=False)  # fmt: skip
        is_partial = command[0] == "export"  # not every question was trained
        assert done.returncode == (1 if is_partial else 0), (command, done.stdout, done.stderr)
        marker = tmp_path / "marker"
        assert not marker.exists(), (command, marker.read_text())
    assert (desk / "out" / "report.html").exists()


def test_who_starts_it_as_a_module_leaves_the_folder_behind(desk: Path, tmp_path: Path):
    # Python itself reads modules from there before any line of ours; these come after
    (desk / "keep").mkdir()
    for name in ("argparse", "asyncio", "json", "msgspec", "numpy", "queue", "random", "socket", "subprocess", "typer"):
        (desk / f"{name}.py").rename(desk / "keep" / f"{name}.py")
    for module in ("engine.data.dataset", "engine", "svhn_tui"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"], cwd=desk / "keep", capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
    assert not (tmp_path / "marker").exists(), (tmp_path / "marker").read_text()


# --- caches and last words -------------------------------------------------------------------------------------------


def test_a_cache_is_ours_alone_or_another_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ours = cache_folder("jax")
    assert ours == tmp_path / "cache" / "svhn-tui" / "jax"
    assert ours.stat().st_mode & 0o777 == 0o700
    ours.parent.chmod(0o777)
    assert cache_folder("jax").parent == tmp_path / "cache" / "svhn-tui-1"
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "svhn-tui").symlink_to(ours.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "linked"))
    assert cache_folder("jax").parent == tmp_path / "linked" / "svhn-tui-1"


def test_without_a_home_the_cache_is_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for home in (None, Path("/proc/none")):
        monkeypatch.setattr("engine.machine.user_folders.home", lambda home=home: home)
        assert cache_folder("jax").is_relative_to(tmp_path)


CAPABILITIES = "+dac_read_search,+dac_override"
NAMELESS = (
    "setpriv", "--reuid=4343", "--regid=4343", "--clear-groups", f"--inh-caps={CAPABILITIES}",
    f"--ambient-caps={CAPABILITIES}", "env", "-u", "HOME", "-u", "XDG_CONFIG_HOME", "-u", "XDG_CACHE_HOME",
    "-u", "XDG_RUNTIME_DIR",
)  # fmt: skip
"""A user id without an entry anywhere, as in many containers; it may read the Python that runs these tests."""


@pytest.mark.slow
def test_a_user_without_a_home_or_a_name_trains():
    look = [*NAMELESS, sys.executable, "-c", "import pathlib; pathlib.Path.home()"]
    if os.getuid() or b"RuntimeError" not in subprocess.run(look, capture_output=True, check=False).stderr:
        pytest.skip("needs root, and setpriv")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own folders are closed to others
        os.chown(folder, 4343, 4343)
        environment = {**os.environ, "TMPDIR": folder}
        for wish in (["run", "Q2", "--epochs", "1"], ["stop"]):  # on demo data
            done = subprocess.run([*NAMELESS, *PROGRAM, *wish, "--workspace", f"{folder}/w"], env=environment,
                                  capture_output=True, text=True, check=False)  # fmt: skip
            assert done.returncode == 0, done.stderr
        assert len(list(Path(folder, "w", "runs").glob("*/result.json"))) == 1
        assert Path(folder, "svhn-tui-cache-4343", "jax").is_dir()


def test_a_worker_that_dies_at_its_start_tells_its_own_last_words(demo_folder: Path, tmp_path: Path):
    broken = tmp_path / "broken.py"
    broken.write_text("import subprocess\nsubprocess.Popen(['sleep', '600'])  # it holds the pipe to the host\n"
                      "print('harmless', flush=True)\nimport sys\nsys.stderr.write('a library\\'s noise\\n')\n"
                      "raise ImportError('libfoo.so.1 is gone')\n")  # fmt: skip
    worker = f"{sys.executable} {broken}"
    with Bridge(tmp_path / "w", SVHN_TUI_WORKER=worker) as bridge:
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("s", data.fingerprint, (FAST,), (0,))))
        failed = bridge.until_kind(p.RunFailed)
        bridge.end()
    assert "ended with exit code 1: ImportError: libfoo.so.1 is gone" in failed.reason
    assert f"{tmp_path / 'w' / 'host.log'} says more" in failed.reason


def test_children_run_where_nothing_lies():
    assert child_process.FOLDER == "/"
    command = child_process.program("engine")
    assert command.argv[1:3] == ("-P", "-m")
