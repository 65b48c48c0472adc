"""The process that queries NVIDIA's management library (NVML); it can be killed where a driver hangs.

    python -m engine.machine.nvml_process    answers each line on stdin with the inventory, as one line of JSON

NVML is open from the first line on, and closed when stdin is. Each query may fail alone: a virtual GPU has no
temperature, a MIG slice no utilisation, a lost card nothing at all. What is unknown is None, or an empty text.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from engine.machine.gpus import PROHIBITED, Gpu, Inventory

Reading = TypeVar("Reading")


class Nvml:
    """NVML, held open from the first reading until `close`."""

    def __init__(self) -> None:
        self._is_open = False

    def read(self) -> Inventory:
        """Return the state of every GPU. An error becomes the inventory's `problem`; NVML is then opened again."""
        import pynvml

        try:
            if not self._is_open:
                pynvml.nvmlInit()
                self._is_open = True
            count = pynvml.nvmlDeviceGetCount()
            gpus = tuple(gpu for index in range(count) for gpu in _gpus(index))
            driver = _answer_of(pynvml.nvmlSystemGetDriverVersion) or ""
            return Inventory(gpus, _text(driver), _answer_of(pynvml.nvmlSystemGetCudaDriverVersion_v2))
        except pynvml.NVMLError as error:
            self.close()
            missing = (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded)
            return Inventory(problem="" if isinstance(error, missing) else problem(str(error)))

    def close(self) -> None:
        """Let the GPUs sleep."""
        import pynvml

        if self._is_open:
            self._is_open = False
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


def problem(message: str) -> str:
    """Return a sentence for an error of NVML."""
    if "mismatch" in message.lower():
        return "NVIDIA's driver and its libraries have different versions: reboot, or reload the driver's module."
    return f"NVIDIA's driver does not answer ({message.strip().rstrip('.')}): see whether nvidia-smi works."


def _answer_of(query: Callable[..., Reading], *given: object) -> Reading | None:
    """Return the answer of a query; None where the card, the driver or the binding does not support it."""
    import pynvml

    try:
        return query(*given)
    except (pynvml.NVMLError, AttributeError, ValueError, OSError):
        return None


def _text(answer: str | bytes | None) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer or ""


def _gpus(index: int) -> Iterator[Gpu]:
    """Yield a card, or each of its slices where it is cut into such."""
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError_NoPermission:
        return  # it belongs to another Slurm job or container, and CUDA does not number it either
    except pynvml.NVMLError as error:
        yield Gpu("", index, problem=f"GPU {index} does not answer ({error}); it needs a reset or a reboot.")
        return
    card = _described(index, handle)
    if not card.uuid:
        yield msgspec.structs.replace(card, problem=f"GPU {index} does not tell its UUID.")
        return
    mode = _answer_of(pynvml.nvmlDeviceGetMigMode, handle)
    if not mode or not mode[0]:
        yield card
        return
    slices = list(_slices(card, handle))
    yield from slices
    if not slices:
        reason = f"GPU {index} is set up to be cut into slices (MIG) and has none: make one with nvidia-smi mig -cgi."
        yield msgspec.structs.replace(card, problem=reason)


def _slices(card: Gpu, handle: Any) -> Iterator[Gpu]:
    import pynvml

    for number in range(_answer_of(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = _answer_of(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
        if part is None:
            continue
        own = _described(card.index, part)
        if own.uuid:
            yield msgspec.structs.replace(
                own, name=own.name or card.name, slice=number, card=card.uuid, pci=card.pci,
                capability=own.capability or card.capability, compute_mode=card.compute_mode, problem=card.problem,
            )  # fmt: skip


def _described(index: int, handle: Any) -> Gpu:
    import pynvml

    memory = _answer_of(pynvml.nvmlDeviceGetMemoryInfo, handle)
    capability = _answer_of(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    mode = _answer_of(pynvml.nvmlDeviceGetComputeMode, handle)
    use = _answer_of(pynvml.nvmlDeviceGetUtilizationRates, handle)
    temperature = _answer_of(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    power = _answer_of(pynvml.nvmlDeviceGetPowerUsage, handle)
    pci = _answer_of(pynvml.nvmlDeviceGetPciInfo, handle)
    prohibited = f"GPU {index} is set to take no computing at all: nvidia-smi -i {index} -c 0 allows it."
    return Gpu(
        _text(_answer_of(pynvml.nvmlDeviceGetUUID, handle)),
        index,
        _text(_answer_of(pynvml.nvmlDeviceGetName, handle)),
        pci=_text(getattr(pci, "busId", "")),
        capability=(int(capability[0]), int(capability[1])) if capability else None,
        memory_total=int(memory.total) if memory else None,
        memory_free=_free(memory),
        compute_mode=mode,
        pids=_computing(handle),
        utilisation=None if use is None else use.gpu / 100,
        temperature=None if temperature is None else float(temperature),
        power=None if power is None else power / 1000,
        problem=prohibited if mode == PROHIBITED else "",
    )


def _free(memory: Any) -> int | None:
    if memory is None:
        return None
    return int(getattr(memory, "free", memory.total - memory.used))


def _computing(handle: Any) -> tuple[int, ...] | None:
    """Return the processes that compute on a card, without those that also draw on a screen."""
    import pynvml

    processes = _answer_of(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    if processes is None:
        return None
    drawing = {process.pid for process in _answer_of(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle) or ()}
    return tuple(process.pid for process in processes if process.pid not in drawing)


def main() -> None:
    """Answer requests; stdout is claimed before a native library prints on it."""
    out, nvml = os.dup(1), Nvml()
    os.dup2(2, 1)
    while sys.stdin.buffer.readline():
        os.write(out, msgspec.json.encode(nvml.read()) + b"\n")
    nvml.close()
    os._exit(0)


if __name__ == "__main__":
    main()
