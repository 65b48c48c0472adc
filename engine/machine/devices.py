"""A look at the machine: how much there is, and how busy it is."""

import os

import psutil

from engine.core.machine import Machine
from engine.machine.system import usable_cores
from engine.protocol import DeviceSample


def machine() -> Machine:
    """Return what this process may train on."""
    return Machine(usable_cores(), psutil.virtual_memory().total, gpus())


def gpus() -> int:
    """Count the GPUs that JAX could use: none without NVIDIA's driver or without JAX's CUDA plugin."""
    from importlib.util import find_spec

    if find_spec("jax_cuda12_plugin") is None or os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return 0
    import pynvml

    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0


def sample() -> tuple[DeviceSample, ...]:
    """Look at the GPUs if there are any, else at the CPU."""
    found = _gpu_samples()
    memory = psutil.virtual_memory()
    cpu = DeviceSample("cpu", psutil.cpu_percent() / 100, int(memory.total - memory.available), int(memory.total))
    return (*found, cpu)


def _gpu_samples() -> tuple[DeviceSample, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return tuple(_gpu_sample(f"gpu{index}", handle) for index, handle in enumerate(handles))
    except pynvml.NVMLError:
        return ()


def _gpu_sample(name: str, handle: object) -> DeviceSample:
    import pynvml

    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return DeviceSample(
        name,
        pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
        int(memory.used),
        int(memory.total),
        float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
    )
