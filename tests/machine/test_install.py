"""`make install` on machines that are not here: which JAX is taken, and what is done where Python lacks something."""

import importlib.metadata
import os
import signal
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.gpu import compiled
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
OPEN_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build  (user@host)\n"
MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 17 22:55:48 UTC 2024\n"
H100, T4, P100, B200, RTX50 = ", 9.0", ", 7.5", ", 6.0", ", 10.0", ", 12.0"


class Box:
    """A made-up machine: programs on its path, files under its root."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin = folder / "root", folder / "bin"
        self.root.mkdir()
        self.bin.mkdir()
        self.environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin", "SVHN_TUI_ROOT": str(self.root), "HOME": str(folder),
        }  # fmt: skip

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def smi(self, *lines: str, status: int = 0) -> None:
        """nvidia-smi prints a line for each card."""
        text = "\n".join(lines)
        self.program("nvidia-smi", f"cat <<'END'\n{text}\nEND\nexit {status}")

    def file(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def run(self, script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", ROOT / "scripts" / script, *options], env={**self.environment, **environment}, cwd=ROOT,
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip

    def kind(self, **environment: str) -> str:
        return self.run("cuda_extra.sh", **environment).stdout.strip()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_without_a_card_it_is_the_cpu(box: Box):
    assert box.kind() == "cpu"


@pytest.mark.parametrize(
    ("cards", "kind"),
    [
        ([f"580.82.07{H100}"], "cuda12"),
        ([f"525.60.13{T4}"], "cuda12"),
        ([f"470.223.02{P100}"], "cpu"),
        ([f"570.124.06{P100}", f"570.124.06{T4}"], "cuda12"),
        ([f"580.82.07{B200}"], "cuda13"),
        ([f"570.82.07{B200}"], "cpu"),
        ([f"580.82.07{RTX50}"], "cuda12"),
        ([f"580.82.07{B200}", f"580.82.07{H100}"], "cuda13"),
        (["580.82.07"], "cuda12"),
        (["525.60.13, 3.5"], "cpu"),
    ],
)
def test_driver_and_cards_decide(box: Box, cards: list[str], kind: str):
    box.smi(*cards)
    assert box.kind() == kind


def test_one_lost_card_of_eight_is_no_reason_for_the_cpu(box: Box):
    lost = "Unable to determine the device handle for GPU0000:1B:00.0: Unknown Error"
    box.smi(*[f"550.54.15{H100}"] * 3, lost, *[f"550.54.15{H100}"] * 4, status=15)
    assert box.kind() == "cuda12"
    box.smi(lost, *[f"550.54.15{H100}"] * 7, status=15)
    assert box.kind() == "cuda12"


def test_a_nvidia_smi_that_fails_or_hangs_leaves_the_other_signs(box: Box):
    box.smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", status=9)
    assert box.kind() == "cpu"
    box.file("proc/driver/nvidia/version", MODULE)
    assert box.kind() == "cuda12"
    box.program("timeout", "exit 124")  # as when it hangs
    assert box.kind() == "cuda12"
    box.file("proc/driver/nvidia/version", OPEN_MODULE)
    assert box.kind() == "cuda12"
    box.file("proc/driver/nvidia/version", MODULE.replace("535", "470"))
    assert box.kind() == "cpu"


def test_a_nvidia_smi_that_cannot_even_be_killed_is_left_and_asked_no_second_time(box: Box, tmp_path: Path):
    box.smi(f"580.82.07{H100}")
    box.file("proc/driver/nvidia/version", MODULE)
    box.program("timeout", f"echo $$ >> {tmp_path}/hangs; exec /bin/sleep 600")
    box.program("sleep", "exit 0")  # so that the 26 seconds are over at once
    try:
        assert box.kind() == "cuda12"
        assert len((tmp_path / "hangs").read_text().split()) == 1
    finally:
        for pid in (tmp_path / "hangs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.86"
LOST = "Unable to determine the device handle for GPU0000:1B:00.0: Unknown Error"


@pytest.mark.parametrize(
    ("printed", "kind"),
    [
        (f"580.82.07{B200}\r", "cuda13"),
        ("560.94\r", "cuda12"),
        ("580.82.07, [N/A]", "cuda12"),
        ("[N/A], [N/A]", "cpu"),
        ("ERR!, ERR!", "cpu"),
        ("No devices were found", "cpu"),
        (MISMATCH, "cpu"),
        (f"{LOST}\n580.82.07, 10.3\nERR!, ERR!", "cuda13"),
        ("", "cpu"),
    ],
)
def test_what_a_nvidia_smi_says_beside_versions_decides_nothing(box: Box, printed: str, kind: str):
    box.smi(printed, status=6)
    assert box.kind(LC_ALL="de_DE.UTF-8") == kind


def test_windows_subsystem_and_containers_without_nvidia_smi(box: Box):
    box.file("usr/lib/wsl/lib/nvidia-smi", f"#!/bin/sh\necho '560.94{T4}'")
    (box.root / "usr/lib/wsl/lib/nvidia-smi").chmod(0o755)
    assert box.kind() == "cuda12"
    (box.root / "usr/lib/wsl/lib/nvidia-smi").unlink()
    assert box.kind() == "cpu"
    box.file("dev/dxg")
    assert box.kind() == "cuda12"
    (box.root / "dev/dxg").unlink()
    box.file("usr/local/nvidia/lib64/libcuda.so.1")
    assert box.kind() == "cuda12"


def test_an_older_nvidia_smi_that_knows_no_capability(box: Box):
    box.program(
        "nvidia-smi", 'case "$*" in *compute_cap*) echo "Field is not a valid field"; exit 2;; *) echo 525.60;; esac'
    )
    assert box.kind() == "cuda12"


@pytest.mark.parametrize(
    ("asked", "kind"), [("cuda12", "cuda12"), ("cuda13", "cuda13"), ("cpu", "cpu"), ("none", "cpu")]
)
def test_the_user_decides(box: Box, asked: str, kind: str):
    box.smi(f"580.82.07{H100}")
    assert box.kind(SVHN_TUI_CUDA=asked) == kind


def test_an_unknown_kind_is_refused_in_words(box: Box):
    done = box.run("cuda_extra.sh", SVHN_TUI_CUDA="cuda14")
    assert done.returncode != 0
    assert "cuda12, cuda13 or cpu" in done.stderr


PYTHON = """
echo "$@" >> "$LOG"
echo "  constraints: $PIP_CONSTRAINT" >> "$LOG"
echo "  elsewhere: ${PIP_USER#0}$PIP_TARGET$PYTHONPATH" >> "$LOG"
case "$*" in
    *version_info*) echo "${FAKE_VERSION-3.12}" ;;
    "-m venv --without-pip "*) mkdir -p "$4/bin"; touch "$4/pyvenv.cfg"; cp "$0" "$4/bin/python" ;;
    "-m venv "*) [ -z "$NO_ENSUREPIP" ] || { mkdir -p "$3"; exit 1; }
        mkdir -p "$3/bin"; touch "$3/pyvenv.cfg" "$3/has-pip"; cp "$0" "$3/bin/python" ;;
    "-m pip --version") [ -f "$(dirname "$0")/../has-pip" ] ;;
    "-m pip --python "*) [ -z "$NO_PIP" ] ;;
esac
"""


@pytest.fixture
def installer(box: Box, tmp_path: Path):
    """Return a function that installs with a Python that only takes notes, and tells what it was asked."""
    box.program("fake-python", PYTHON)
    box.program("uv", 'echo "uv $*" >> "$LOG"; exit 0')
    log = tmp_path / "log"

    def install(*options: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], str]:
        log.write_text("")
        fixed = {"PYTHON": "fake-python", "VENV": str(tmp_path / "venv"), "LOG": str(log)}
        done = box.run("install.sh", *options, **fixed, **environment)
        return done, log.read_text()

    return install


def test_an_install_for_the_cpu_asks_for_nothing_of_nvidias(installer, tmp_path: Path):
    output, log = installer()
    assert output.returncode == 0, output.stderr
    assert "--editable .\n" in log
    assert "cuda" not in log
    assert (tmp_path / "venv" / "kind").read_text() == "cpu\n"
    output, log = installer()
    assert "pip" not in log, "what is there is left as it is"
    output, log = installer("dev")
    assert "--editable .[dev]" in log


def test_what_is_set_for_other_environments_does_not_count(installer):
    output, log = installer(PIP_USER="1", PIP_TARGET="/home/me/lib", PYTHONPATH="/modules/scipy")
    assert output.returncode == 0, output.stderr
    assert log.splitlines()[-1] == "  elsewhere: ", "packages are installed into the environment, all of them"


def test_another_kind_begins_anew(installer, tmp_path: Path):
    installer()
    (tmp_path / "venv" / "old").touch()
    output, log = installer(SVHN_TUI_CUDA="cuda12")
    assert "built anew" in output.stdout
    assert not (tmp_path / "venv" / "old").exists()
    assert "--editable .[cuda12]" in log
    assert "constraints: constraints.txt constraints-cuda12.txt" in log
    output, log = installer("dev", SVHN_TUI_CUDA="cuda12")
    assert "--editable .[cuda12,dev]" in log


def test_a_choice_counts_until_another_one_is_made(installer, box: Box, tmp_path: Path):
    box.smi(f"580.82.07{H100}")
    installer(SVHN_TUI_CUDA="cpu")
    _, log = installer("dev")
    assert "--editable .[dev]" in log, "the card is not taken into account: the user said so"
    _, log = installer(SVHN_TUI_CUDA="auto")
    assert "--editable .[cuda12]" in log
    _, log = installer("dev")
    assert "--editable .[cuda12,dev]" in log


def test_where_no_card_is_seen_an_environment_for_cards_stays(installer, box: Box, tmp_path: Path):
    box.smi(f"580.82.07{H100}")
    installer()
    (tmp_path / "venv" / "old").touch()
    box.smi(status=9)  # it fails, or this is the login node of a cluster
    output, log = installer("dev")
    assert "JAX for cuda12 stays" in output.stdout
    assert "--editable .[cuda12,dev]" in log and (tmp_path / "venv" / "old").exists()
    output, log = installer(SVHN_TUI_CUDA="cpu")
    assert "--editable .\n" in log and not (tmp_path / "venv" / "old").exists()


def test_an_installation_that_was_cut_off_leaves_nothing_of_its_kind(installer, tmp_path: Path):
    installer(SVHN_TUI_CUDA="cuda12")
    for name in ("ready", "old"):
        (tmp_path / "venv" / name).touch()
    (tmp_path / "venv" / "ready").unlink()
    output, _ = installer(SVHN_TUI_CUDA="cuda13")
    assert "built anew" in output.stdout and not (tmp_path / "venv" / "old").exists()


def test_a_folder_that_is_no_environment_is_never_removed(installer, tmp_path: Path):
    installer()
    (tmp_path / "venv" / "pyvenv.cfg").unlink()
    output, _ = installer(SVHN_TUI_CUDA="cuda13")
    assert output.returncode != 0
    assert "no environment of Python" in output.stderr
    assert (tmp_path / "venv" / "ready").exists()


@pytest.mark.parametrize(("version", "says"), [("3.14", "too new"), ("3.15", "too new"), ("3.10", "too old")])
def test_a_python_that_tensorflow_has_no_package_for_is_refused(installer, version: str, says: str):
    output, log = installer(FAKE_VERSION=version)
    assert output.returncode != 0
    assert says in output.stderr
    assert "venv" not in log


def test_without_ensurepip_the_outer_pip_installs_or_uv(installer, tmp_path: Path):
    output, log = installer(NO_ENSUREPIP="1")
    assert output.returncode == 0, output.stderr
    assert f"-m pip --python {tmp_path}/venv/bin/python install" in log
    (tmp_path / "venv" / "ready").unlink()
    output, log = installer(NO_ENSUREPIP="1", NO_PIP="1")
    assert f"uv pip install --python {tmp_path}/venv/bin/python --editable ." in log


def test_a_folder_of_wheels_takes_the_place_of_the_network(installer, tmp_path: Path):
    output, log = installer(SVHN_TUI_WHEELS=str(tmp_path))
    assert f"--no-index --find-links {tmp_path} --editable ." in log
    (tmp_path / "venv" / "ready").unlink()
    output, _ = installer(SVHN_TUI_WHEELS=str(tmp_path / "none"))
    assert output.returncode != 0
    assert "make wheels" in output.stderr


@pytest.mark.parametrize(
    ("kind", "constraints", "project"),
    [("cpu", "constraints.txt", "."), ("cuda12", "constraints.txt constraints-cuda12.txt", ".[cuda12]")],
)
def test_such_a_folder_is_filled_with_what_an_install_asks_for(
    box: Box, tmp_path: Path, kind: str, constraints: str, project: str
):
    box.program("fake-python", PYTHON)
    done = box.run("wheels.sh", PYTHON="fake-python", LOG=str(tmp_path / "log"), SVHN_TUI_CUDA=kind)
    assert done.returncode != 0 and "Name the folder" in done.stderr
    folder = tmp_path / "wheels"
    done = box.run("wheels.sh", PYTHON="fake-python", LOG=str(tmp_path / "log"), SVHN_TUI_CUDA=kind,
                   SVHN_TUI_WHEELS=str(folder))  # fmt: skip
    assert done.returncode == 0, done.stderr
    asked, constrained, _ = (tmp_path / "log").read_text().splitlines()
    assert asked == f"-m pip download --dest {folder} {project} hatchling editables"
    assert constrained == f"  constraints: {constraints}"


def pins_of(kind: str) -> dict[str, str]:
    lines = (ROOT / f"constraints-{kind}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_every_package_of_nvidias_that_jax_and_tensorflow_ask_for_has_a_pin_that_suits_them():
    """JAX's plugin is asked where `make gpu-compile` has installed it."""
    lines = [f"Requires-Dist: {line}" for line in importlib.metadata.requires("tensorflow") or ()]
    for file in compiled.folder().glob("jax_cuda12_plugin-*.dist-info/METADATA"):
        lines += file.read_text().splitlines()
    asked = [Requirement(line.partition(": ")[2]) for line in lines if line.startswith("Requires-Dist: nvidia-")]
    pins = pins_of("cuda12")
    assert len(asked) >= 12
    for wanted in asked:
        assert wanted.specifier.contains(pins[wanted.name]), wanted


@pytest.mark.parametrize("kind", ["cuda12", "cuda13"])
def test_every_package_of_nvidias_is_pinned(kind: str):
    pins = pins_of(kind)
    assert {f"jax-{kind}-plugin", f"jax-{kind}-pjrt"} <= set(pins)
    assert sum(name.startswith("nvidia-") for name in pins) >= 12
    if kind == "cuda12":
        assert pins["nvidia-cudnn-cu12"] == "9.10.2.21", "newer ones have no code for a P100"
    else:
        assert tuple(map(int, pins["nvidia-cublas"].split(".")[:2])) >= (13, 2)
    jax = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("jax=="))
    assert pins[f"jax-{kind}-plugin"] == jax.removeprefix("jax==")


def test_make_run_and_make_test_install_different_things():
    def plan(target: str) -> str:
        done = subprocess.run(["make", "-n", target, "VENV=/nowhere"], cwd=ROOT, capture_output=True, text=True,
                              env={**os.environ, "SVHN_TUI_CUDA": ""})  # fmt: skip
        return done.stdout

    assert "install.sh dev" not in plan("run")
    assert "install.sh dev" in plan("check")
