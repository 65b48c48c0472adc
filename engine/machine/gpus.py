"""What GPUs there are and who uses them, as NVIDIA's management library (NVML) tells.

Each query may fail alone: a virtual GPU has no temperature, a MIG slice no utilisation, a lost card nothing at all.
What is unknown is None, or an empty text. NVML is closed whenever nobody looks: an open handle keeps a laptop's GPU
awake.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from engine.core.device_sample import DeviceSample
from engine.machine import card_lock, system

Reading = TypeVar("Reading")

NEEDED_BYTES = 2 * 2**30
"""Free memory with which a worker can begin: CUDA itself, the data, and ten lanes of a large network."""
DEFAULT, PROHIBITED, EXCLUSIVE = 0, 2, 3
"""Compute modes of NVML; 1, exclusive to a thread, is treated by drivers as 3."""
SHARING_SERVER = "nvidia-cuda-mps"
"""Start of the names of CUDA's multi-process service, which is there for the card to be shared."""


class Gpu(msgspec.Struct, frozen=True):
    """A card, or a slice of one (MIG), that a process may be given. Sizes in bytes."""

    uuid: str
    index: int
    """As nvidia-smi numbers the cards: by PCI address."""
    name: str = ""
    slice: int | None = None
    """Which MIG instance of the card it is; None: the whole card."""
    card: str = ""
    """UUID of the card that it is a slice of."""
    pci: str = ""
    capability: tuple[int, int] | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    compute_mode: int | None = None
    pids: tuple[int, ...] | None = None
    """Processes that compute on it, as NVML numbers them; None: it does not say."""
    problem: str = ""
    """Why nothing can be computed on it, in a sentence."""

    @property
    def label(self) -> str:
        """`gpu1`, or `gpu1:0` for its first slice."""
        return f"gpu{self.index}" + (f":{self.slice}" if self.slice is not None else "")

    @property
    def is_exclusive(self) -> bool:
        """It takes a single process at a time."""
        return self.compute_mode in (1, EXCLUSIVE)


class Inventory(msgspec.Struct, frozen=True):
    """The GPUs of a machine at one moment."""

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    """Version of NVIDIA's driver, such as 580.82.07."""
    cuda: int | None = None
    """Newest CUDA that the driver supports, such as 12080 for 12.8."""
    problem: str = ""
    """Why nothing is known although there is NVIDIA's library; empty where there is none."""


def read() -> Inventory:
    """Ask NVML about every GPU."""
    import pynvml

    try:
        with _opened():
            count = pynvml.nvmlDeviceGetCount()
            gpus = tuple(gpu for index in range(count) for gpu in _card(index))
            driver = _answer_of(pynvml.nvmlSystemGetDriverVersion) or ""
            return Inventory(gpus, _text(driver), _answer_of(pynvml.nvmlSystemGetCudaDriverVersion_v2))
    except pynvml.NVMLError as error:
        missing = (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded)
        return Inventory(problem="" if isinstance(error, missing) else nvml_problem(str(error)))


class GpuMonitor:
    """Looks at how busy GPUs are, again and again. NVML is held open from the first look until `close`."""

    def __init__(self) -> None:
        self._is_open = False

    def sample(self, wanted: Collection[str] = (), own: Collection[int] = ()) -> tuple[DeviceSample, ...]:
        """Look once; what cannot be asked at all is left out.

        Args:
            wanted: UUIDs of cards or slices; of all where none is named.
            own: processes of ours.
        """
        import pynvml

        try:
            if not self._is_open:
                pynvml.nvmlInit()
                self._is_open = True
            rows = [row for index in range(pynvml.nvmlDeviceGetCount()) for row in _handles(index)]
        except pynvml.NVMLError:
            self.close()
            return ()
        return tuple(_sample(gpu, handle, own) for gpu, handle in rows
                     if handle is not None and (not wanted or gpu.uuid in wanted))  # fmt: skip

    def close(self) -> None:
        """Let the GPUs sleep."""
        import pynvml

        if self._is_open:
            self._is_open = False
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


def users(gpu: Gpu, own: Collection[int] = ()) -> tuple[int, ...] | None:
    """Return the processes of others that compute on a GPU; None where process ids prove nothing.

    Args:
        gpu: as it was read.
        own: processes that are no others.
    """
    if gpu.pids is None or not system.pids_are_the_kernels():
        return None
    return tuple(pid for pid in gpu.pids if pid not in own and not _shares(pid))


def busy(gpu: Gpu, others: Sequence[int] | None) -> str:
    """Say why a GPU is left to others, in a few words; empty when it is free.

    Args:
        gpu: as it was read.
        others: what `users` found. Where process ids prove nothing, only a card whose memory is half free or more
            counts as nobody's.
    """
    if others:
        return f"process {others[0]} of {system.owner_of(others[0])} computes on it"
    if gpu.memory_free is None or gpu.memory_total is None:
        return ""
    half = gpu.memory_total // 2
    if gpu.memory_free < (half if others is None else min(NEEDED_BYTES, half)):
        return f"only {gpu.memory_free / 2**30:.1f} of {gpu.memory_total / 2**30:.0f} GiB of its memory are free"
    return ""


def nvml_problem(message: str) -> str:
    """Return a sentence for why NVML could not be asked."""
    if "mismatch" in message.lower():
        return "NVIDIA's driver and its libraries have different versions: reboot, or reload the driver's module."
    return f"NVIDIA's driver does not answer ({message.strip().rstrip('.')}): see whether nvidia-smi works."


@contextlib.contextmanager
def _opened() -> Iterator[None]:
    """Hold NVML open.

    Raises:
        NVMLError: there is no NVIDIA driver, or it does not work.
    """
    import pynvml

    pynvml.nvmlInit()
    try:
        yield
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _answer_of(query: Callable[..., Reading], *given: object) -> Reading | None:
    """Return what one query says; None where the card, the driver or the binding does not support it."""
    import pynvml

    try:
        return query(*given)
    except (pynvml.NVMLError, AttributeError, ValueError, OSError):
        return None


def _text(answer: str | bytes | None) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer or ""


def _card(index: int) -> Iterator[Gpu]:
    for gpu, _ in _handles(index):
        yield gpu


def _handles(index: int) -> Iterator[tuple[Gpu, Any]]:
    """Yield a card with NVML's handle of it, or each of its slices where it is cut into such."""
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError_NoPermission:
        return  # a Slurm job or a container was given others, and CUDA does not number it either
    except pynvml.NVMLError as error:
        yield Gpu("", index, problem=f"GPU {index} does not answer ({error}); it needs a reset or a reboot."), None
        return
    card = _described(index, handle)
    if not card.uuid:
        yield msgspec.structs.replace(card, problem=f"GPU {index} does not tell its UUID."), handle
        return
    mode = _answer_of(pynvml.nvmlDeviceGetMigMode, handle)
    if not mode or not mode[0]:
        yield card, handle
        return
    slices = list(_slices(card, handle))
    yield from slices
    if not slices:
        reason = f"GPU {index} is set up to be cut into slices (MIG) and has none: make one with nvidia-smi mig -cgi."
        yield msgspec.structs.replace(card, problem=reason), handle


def _slices(card: Gpu, handle: Any) -> Iterator[tuple[Gpu, Any]]:
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
            ), part  # fmt: skip


def _described(index: int, handle: Any) -> Gpu:
    import pynvml

    memory = _answer_of(pynvml.nvmlDeviceGetMemoryInfo, handle)
    capability = _answer_of(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    mode = _answer_of(pynvml.nvmlDeviceGetComputeMode, handle)
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
        problem=prohibited if mode == PROHIBITED else "",
    )


def _free(memory: Any) -> int | None:
    if memory is None:
        return None
    return int(getattr(memory, "free", memory.total - memory.used))


def _computing(handle: Any) -> tuple[int, ...] | None:
    """Return who computes on a card; what draws on a screen and computes a little besides does not count."""
    import pynvml

    processes = _answer_of(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    if processes is None:
        return None
    drawing = {process.pid for process in _answer_of(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle) or ()}
    return tuple(process.pid for process in processes if process.pid not in drawing)


def _sample(gpu: Gpu, handle: Any, own: Collection[int]) -> DeviceSample:
    import pynvml

    is_ours = any(pid in own for pid in gpu.pids or ()) or (bool(own) and card_lock.holder(gpu.uuid) in own)
    use = _answer_of(pynvml.nvmlDeviceGetUtilizationRates, handle)
    temperature = _answer_of(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    power = _answer_of(pynvml.nvmlDeviceGetPowerUsage, handle)
    total, free = gpu.memory_total or 0, gpu.memory_free
    return DeviceSample(
        gpu.label,
        None if use is None else use.gpu / 100,
        0 if free is None else total - free,
        total,
        None if temperature is None else float(temperature),
        None if power is None else power / 1000,
        gpu.name,
        "" if is_ours else busy(gpu, users(gpu, own)),
    )


def _shares(pid: int) -> bool:
    """Say whether a process is gone, or serves others that share the card."""
    name = system.name_of(pid)
    return name is None or name.startswith(SHARING_SERVER)
