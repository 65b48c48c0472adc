"""What JAX really sees: each way a driver refuses has its sentence, and what an image set is tried without."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from engine.machine import probe
from engine.machine.probe import CudaCards, ProbeResult
from engine.machine.tool_process import Outcome

GPU = ProbeResult("gpu", "NVIDIA H100 80GB HBM3", "GPU-a", memory=80, cuda=13000)
DRIVER = """
#include <string.h>
#include <unistd.h>
int cuInit(unsigned flags) { if (CODE < 0) sleep(600); return CODE; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    for (int i = 0; i < 16; i++) uuid[i] = 16 * device + i;
    return 0;
}
int cuDeviceGetName(char *text, int length, int device) {
    strncpy(text, device ? "NVIDIA A100 MIG 1g.5gb" : "NVIDIA A100", length);
    return 0;
}
int cuDeviceGetPCIBusId(char *text, int length, int device) { text[0] = '1'; text[1] = 0; return 0; }
"""


@pytest.fixture
def driver(tmp_path: Path):
    """Return a function that makes a stand-in for NVIDIA's driver and the environment in which it is found."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("a stand-in for the driver cannot be compiled here")
    (tmp_path / "driver.c").write_text(DRIVER)

    def make(code: int, count: int = 1) -> dict[str, str]:
        command = [compiler, "-shared", "-fPIC", f"-DCODE={code}", f"-DCOUNT={count}"]
        subprocess.run([*command, "-o", tmp_path / "libcuda.so.1", tmp_path / "driver.c"], check=True)
        return {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}

    return make


@pytest.mark.parametrize(
    ("code", "mends"),
    [
        (100, "--gpus all"),
        (802, "nvidia-fabricmanager"),
        (803, "reboot"),
        (804, "cuda-compat"),
        (999, "nvidia_uvm"),
        (46, "nvidia-smi"),
        (35, "update it"),
        (34, "stubs"),
        (2, "memory is full"),
        (777, "error 777"),
    ],
)
def test_each_way_that_a_driver_refuses_has_a_sentence(driver, code: int, mends: str):
    seen = probe.look(driver(code))
    assert not seen.is_usable
    assert mends in seen.reason
    assert seen.cuda == 12040


def test_a_driver_that_gives_no_card_is_told(driver):
    assert "--gpus all" in probe.look(driver(0, count=0)).reason


def test_a_driver_that_hangs_is_given_up_after_one_try(driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "SECONDS", 0.5)
    environment = driver(-1)
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda/libcudart.so.11.0").touch()
    asked: list[Mapping[str, str]] = []

    def ask(environment: Mapping[str, str]) -> Outcome:
        asked.append(environment)
        return probe._probe(environment)

    seen = probe.look({**environment, "LD_LIBRARY_PATH": f"{tmp_path}:{tmp_path}/cuda"}, ask)
    assert seen == ProbeResult(reason=probe.HANGS)
    assert "nvidia-smi" in seen.reason and "slow disk" in seen.reason
    assert len(asked) == 1, "without the other CUDA it would hang too"
    assert probe.cards(environment).reason == probe.HANGS


def test_a_card_without_jaxs_plugin_is_told_with_what_installs_it(driver):
    if probe.plugins():
        pytest.skip("JAX has a plugin for GPUs here")
    seen = probe.look(driver(0))
    assert seen.reason == probe.NO_PLUGIN
    assert seen.uuid == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_without_a_driver_the_probe_says_so(tmp_path: Path):
    seen = probe.look({**os.environ, "LD_LIBRARY_PATH": ""})
    if seen.reason != probe.NO_LIBRARY:
        pytest.skip("there is a driver here")
    assert "--gpus all" in seen.reason


def test_cuda_numbers_the_cards_itself(driver):
    cards_seen = probe.cards({**driver(0, count=2), "CUDA_VISIBLE_DEVICES": ""})
    assert [uuid[:12] for uuid in cards_seen.uuids] == ["GPU-00010203", "MIG-10111213"], "a slice, as CUDA takes it"
    assert cards_seen.names == ("NVIDIA A100", "NVIDIA A100 MIG 1g.5gb")
    assert probe.order_of_cards(driver(0, count=2)) == cards_seen.uuids
    assert probe.order_of_cards(driver(803)) == ()
    assert probe.cards(driver(803)) == CudaCards(cuda=12040, reason=probe.CUDA_ERRORS[803])
    assert probe.cards(driver(0, count=0)).reason == probe.CUDA_ERRORS[100]


def test_another_cuda_in_the_image_is_left_out_only_where_that_helps(tmp_path: Path):
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "libcudart.so.11.0").touch()
    path = f"{tmp_path}/cuda:{tmp_path}/mpi"

    def ask(environment: Mapping[str, str]) -> Outcome:
        seen = ProbeResult(reason="cuSPARSE not found") if "/cuda" in environment["LD_LIBRARY_PATH"] else GPU
        return Outcome(0, msgspec.json.encode(seen), "")

    seen = probe.look({"LD_LIBRARY_PATH": path}, ask)
    assert seen.is_usable
    assert dict(seen.environment) == {"LD_LIBRARY_PATH": f"{tmp_path}/mpi"}
    assert "LD_LIBRARY_PATH names another CUDA" in seen.remarks[0]

    def never(environment: Mapping[str, str]) -> Outcome:
        return Outcome(0, msgspec.json.encode(ProbeResult(reason="broken")), "")

    assert probe.look({"LD_LIBRARY_PATH": path}, never) == ProbeResult(reason="broken")
    as_it_is = probe.look({"LD_LIBRARY_PATH": path}, lambda environment: Outcome(0, msgspec.json.encode(GPU), ""))
    assert as_it_is == GPU, "what works is left alone"


def test_flags_of_the_image_that_this_xla_does_not_know_are_left_out():
    def ask(environment: Mapping[str, str]) -> Outcome:
        if "--xla_bogus" in environment["XLA_FLAGS"]:
            return Outcome(1, b"", "F1126 Unknown flags in XLA_FLAGS: --xla_bogus=1")
        return Outcome(0, msgspec.json.encode(GPU), "")

    seen = probe.look({"XLA_FLAGS": "--xla_bogus=1 --xla_dump_to=/x"}, ask)
    assert seen.is_usable
    assert dict(seen.environment) == {"XLA_FLAGS": "--xla_dump_to=/x"}


def test_the_real_xla_says_which_flags_it_does_not_know():
    environment = {**os.environ, "XLA_FLAGS": "--xla_bogus=1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], env=environment, capture_output=True)
    assert done.returncode != 0
    assert probe.xla_flags.unknown_flags(done.stderr.decode()) == ("--xla_bogus=1",)


def test_a_probe_that_dies_reports_the_last_line_of_its_stderr():
    seen = probe.look({}, lambda environment: Outcome(-6, b"", "one\nCheck failed: stream\n"))
    assert seen.reason == "The process that asks JAX for this GPU was ended by SIGABRT: Check failed: stream."


@pytest.mark.parametrize(
    ("message", "mends"),
    [
        ("Unable to load cuSPARSE. Is it installed?", "LD_LIBRARY_PATH"),
        ("CUDA_ERROR_OUT_OF_MEMORY: out of memory", "memory is full"),
        ("failed to create cublas handle: CUBLAS_STATUS_ALLOC_FAILED", "memory is full"),
        ("Executing genuine BLAS without BLAS support", "cuBLAS"),
        ("something\nelse", "JAX cannot use the GPU: something"),
    ],
)
def test_what_jax_complains_of_becomes_a_sentence(message: str, mends: str):
    assert mends in probe.jax_reason(message)
