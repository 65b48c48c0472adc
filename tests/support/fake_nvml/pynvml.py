"""A made-up NVML: the machine is described by the JSON in FAKE_NVML, or in the file that it names.

    {"driver": "580.82.07", "cuda": 13000, "cards": [{"uuid": "GPU-a", "total": 80, ...}], "fails": "DriverNotLoaded"}

Of a card: uuid, name, total and free in GiB, pids, drawing, capability, mode, power, temperature, use, slices (a list
of the like), lost, hidden (from a Slurm job). A query named in `lacks` is not supported by it. CALLS counts queries.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NVML_TEMPERATURE_GPU = 0
CALLS: list[str] = []


class NVMLError(Exception):
    """Any error."""


class NVMLError_NotSupported(NVMLError):
    """The card has no such thing."""


class NVMLError_NoPermission(NVMLError):
    """The card was given to others."""


class NVMLError_LibraryNotFound(NVMLError):
    """There is no NVIDIA driver."""


class NVMLError_DriverNotLoaded(NVMLError):
    """The driver's module is not loaded."""


class NVMLError_LibRmVersionMismatch(NVMLError):
    """After an update."""


def machine() -> dict[str, Any]:
    """Read the description anew: a test may change it."""
    text = os.environ.get("FAKE_NVML", '{"fails": "LibraryNotFound"}')
    return json.loads(text if text.startswith("{") else Path(text).read_text())


def nvmlInit() -> None:
    CALLS.append("init")
    if fails := machine().get("fails"):
        raise globals()[f"NVMLError_{fails}"](machine().get("message", "Driver/library version mismatch"))


def nvmlShutdown() -> None:
    CALLS.append("shutdown")


def nvmlDeviceGetCount() -> int:
    return len(machine()["cards"])


def nvmlSystemGetDriverVersion() -> str:
    return machine().get("driver", "580.82.07")


def nvmlSystemGetCudaDriverVersion_v2() -> int:
    return machine().get("cuda", 13000)


def nvmlDeviceGetHandleByIndex(index: int) -> dict[str, Any]:
    card = machine()["cards"][index]
    if card.get("hidden"):
        raise NVMLError_NoPermission("Insufficient Permissions")
    if card.get("lost"):
        raise NVMLError("GPU is lost")
    return card


def value_of(card: dict[str, Any], key: str, default: Any) -> Any:
    CALLS.append(key)
    if key in card.get("lacks", ()):
        raise NVMLError_NotSupported("Not Supported")
    return card.get(key, default)


def nvmlDeviceGetUUID(card: dict[str, Any]) -> str:
    return value_of(card, "uuid", "")


def nvmlDeviceGetName(card: dict[str, Any]) -> str:
    return value_of(card, "name", "NVIDIA H100 80GB HBM3")


def nvmlDeviceGetMemoryInfo(card: dict[str, Any]) -> SimpleNamespace:
    total = value_of(card, "total", 80)
    free = card.get("free", total)
    return SimpleNamespace(total=int(total * 2**30), free=int(free * 2**30), used=int((total - free) * 2**30))


def nvmlDeviceGetCudaComputeCapability(card: dict[str, Any]) -> tuple[int, int]:
    return tuple(value_of(card, "capability", [9, 0]))


def nvmlDeviceGetComputeMode(card: dict[str, Any]) -> int:
    return value_of(card, "mode", 0)


def nvmlDeviceGetPciInfo(card: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(busId=value_of(card, "pci", "00000000:1B:00.0"))


def nvmlDeviceGetComputeRunningProcesses(card: dict[str, Any]) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in value_of(card, "pids", ())]


def nvmlDeviceGetGraphicsRunningProcesses(card: dict[str, Any]) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid) for pid in value_of(card, "drawing", ())]


def nvmlDeviceGetMigMode(card: dict[str, Any]) -> tuple[int, int]:
    if "slices" not in card:
        raise NVMLError_NotSupported("Not Supported")
    return 1, 1


def nvmlDeviceGetMaxMigDeviceCount(card: dict[str, Any]) -> int:
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(card: dict[str, Any], index: int) -> dict[str, Any]:
    if index >= len(card["slices"]):
        raise NVMLError("Not Found")
    return card["slices"][index]


def nvmlDeviceGetUtilizationRates(card: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(gpu=value_of(card, "use", 50))


def nvmlDeviceGetTemperature(card: dict[str, Any], kind: int) -> int:
    return value_of(card, "temperature", 40)


def nvmlDeviceGetPowerUsage(card: dict[str, Any]) -> int:
    return value_of(card, "power", 100_000)
