"""The machine: versions, what nvidia-smi and JAX say, and NVML, call by call."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import time
from typing import Any

from tests.gpu.kit import Kit, Results

PACKAGES = (
    "jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "keras", "numpy", "tensorflow", "nvidia-ml-py",
    "nvidia-cudnn-cu12", "nvidia-cublas-cu12", "nvidia-cuda-nvcc-cu12", "nvidia-cudnn-cu13", "nvidia-cublas",
    "nvidia-cuda-nvcc", "msgspec", "textual", "tinydb",
)  # fmt: skip
VARIABLES = re.compile(r"CUDA_|NVIDIA_|XLA_|JAX_|TF_|LD_LIBRARY_PATH")
CARD_FIELDS = "name,driver_version,compute_cap,memory.total,memory.used,mig.mode.current,compute_mode,persistence_mode"
SMI_SECONDS = 20


def smi(*options: str) -> str:
    """Return what nvidia-smi prints; empty where there is none."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(["nvidia-smi", *options], capture_output=True, text=True, timeout=SMI_SECONDS)
        return (done.stdout or done.stderr).strip()
    return ""


def machine(kit: Kit, held: Results) -> None:
    """Look at Python, packages, environment and devices."""
    held["python"] = platform.python_version()
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            held.setdefault("versions", {})[name] = importlib.metadata.version(name)
    held["cores"] = len(os.sched_getaffinity(0))
    held["environment"] = {name: value for name, value in os.environ.items() if VARIABLES.match(name)}
    outputs = smi("-L"), smi(f"--query-gpu={CARD_FIELDS}", "--format=csv,noheader")
    held["nvidia_smi"] = [text[:400] for text in outputs if text]
    import jax

    device = jax.devices()[0]
    held["jax_devices"] = [str(some) for some in jax.devices()]
    held["device_kind"], held["platform"] = device.device_kind, device.platform
    held["memory_stats"] = device.memory_stats()
    kit.results["device"] = device.device_kind


def nvml(kit: Kit, held: Results) -> None:
    """Ask NVML each question that `engine.machine.gpus` asks, one by one, and then the program."""
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    calls: dict[str, Any] = {
        "count": lambda handle: pynvml.nvmlDeviceGetCount(),
        "name": pynvml.nvmlDeviceGetName,
        "uuid": pynvml.nvmlDeviceGetUUID,
        "driver": lambda handle: pynvml.nvmlSystemGetDriverVersion(),
        "cuda": lambda handle: pynvml.nvmlSystemGetCudaDriverVersion_v2(),
        "capability": pynvml.nvmlDeviceGetCudaComputeCapability,
        "compute_mode": pynvml.nvmlDeviceGetComputeMode,
        "memory": pynvml.nvmlDeviceGetMemoryInfo,
        "utilisation": lambda handle: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "temperature": lambda handle: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        "power": pynvml.nvmlDeviceGetPowerUsage,
        "mig": pynvml.nvmlDeviceGetMigMode,
        "processes": lambda handle: [some.pid for some in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)],
        "own_pid": lambda handle: os.getpid(),
    }
    for name, call in calls.items():
        began = time.perf_counter()
        try:
            held[name] = str(call(handle))[:200]
        except Exception as error:  # noqa: BLE001
            held[name] = f"raises {type(error).__name__}: {error}"
        held.setdefault("ms", {})[name] = round(1e3 * (time.perf_counter() - began), 2)
    held["is_jaxs_name"] = held["name"] == kit.sections.get("machine", {}).get("device_kind")
    from engine.machine import devices, gpus

    began = time.perf_counter()
    held["product_inventory"] = repr(gpus.read())[:600]
    held["ms"]["product_inventory"] = round(1e3 * (time.perf_counter() - began), 2)
    held["product_gpus"] = len(devices.choose_gpus().gpus)
    held["product_samples"] = [repr(sample) for sample in gpus.GpuMonitor().sample()]
