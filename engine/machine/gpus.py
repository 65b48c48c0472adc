"""What GPUs there are and who uses them, as NVIDIA's management library (NVML) reports it.

A process of its own queries it (`engine.machine.nvml_process`), since a driver may hang, and a process that hangs in
the kernel cannot even be killed. It ends when nobody samples any more: an open handle keeps a laptop's GPU awake.
"""

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from functools import cache

import msgspec

from engine.core.device_sample import DeviceSample
from engine.machine import card_lock, child_process, system

NEEDED_BYTES = 2 * 2**30
"""Free memory with which a worker can begin: CUDA itself, the data, and ten lanes of a large network."""
DEFAULT, PROHIBITED, EXCLUSIVE = 0, 2, 3
"""Compute modes of NVML; 1, exclusive to a thread, is treated by drivers as 3."""
ANSWER_SECONDS = 30.0
"""A driver that does not answer by then hangs; without its persistence mode, eight cards need ten to wake."""
HANGS = (
    f"NVIDIA's driver does not answer within {ANSWER_SECONDS:.0f} s, as when a card hangs: see whether nvidia-smi "
    "works; a reboot mends it."
)
END_SECONDS = 1.0
"""Time limit for a killed process to end; one whose driver hangs does not."""
SHARING_SERVER = "nvidia-cuda-mps"
"""Start of the names of CUDA's multi-process service, which serves processes that share a card."""


class Gpu(msgspec.Struct, frozen=True):
    """A card, or a slice of one (MIG), that a process may use. Sizes in bytes."""

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
    """Processes that compute on it, as NVML numbers them; None where it does not report them."""
    utilisation: float | None = None
    """0..1."""
    temperature: float | None = None
    """Degrees Celsius."""
    power: float | None = None
    """Watts."""
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
    """Why NVML lists no GPU although its library is installed; empty without the library."""


class NvmlProcess:
    """The process that queries NVML; it runs from the first reading until `close`.

    Args:
        command: what is started instead, for tests.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._hung: subprocess.Popen[bytes] | None = None

    def read(self) -> Inventory:
        """Return the state of every GPU; an error becomes the inventory's `problem`.

        No other process is started as long as one that hung has not ended.
        """
        if self._hung is not None and self._hung.poll() is None:
            return Inventory(problem=HANGS)
        try:
            self._process = self._process or self._started()
            return msgspec.json.decode(_answer_of(self._process), type=Inventory) if self._process else Inventory()
        except TimeoutError:
            self.close()
            return Inventory(problem=HANGS)
        except (OSError, msgspec.MsgspecError) as error:
            self.close()
            return Inventory(problem=f"NVIDIA's driver could not be asked ({error}): see whether nvidia-smi works.")

    def close(self) -> None:
        """End the process, so that the GPUs can sleep; it needs no cleanup."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._hung = process  # nothing ends it before a reboot

    def _started(self) -> "subprocess.Popen[bytes] | None":
        """Start the process; None where NVML is not installed.

        Raises:
            OSError: it cannot be started.
        """
        if not self._command and not system.has_library("libnvidia-ml.so.1"):
            return None
        return subprocess.Popen(
            self._command or [sys.executable, *child_process.module_line("engine.machine.nvml_process")],
            env=child_process.program_environment(os.environ), cwd=child_process.FOLDER, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip


def read() -> Inventory:
    """Return the state of every GPU from NVML, once."""
    nvml = NvmlProcess()
    try:
        return nvml.read()
    finally:
        nvml.close()


@cache
def driver() -> str:
    """Return the version of NVIDIA's driver, queried once by this process; empty where it is not known."""
    return read().driver


class GpuMonitor:
    """Samples the load of GPUs. NVML is held open from the first sample until `close`."""

    def __init__(self) -> None:
        self._nvml = NvmlProcess()
        self.problem = ""
        """Why the last sample is empty."""

    def sample(self, wanted: Collection[str] = (), own: Collection[int] = ()) -> tuple[DeviceSample, ...]:
        """Return the load of each GPU; one that cannot be queried is left out.

        Args:
            wanted: UUIDs of cards or slices; of all where none is named.
            own: processes of ours.
        """
        seen = self._nvml.read()
        self.problem = seen.problem
        return tuple(_sample(gpu, own) for gpu in seen.gpus if gpu.uuid and (not wanted or gpu.uuid in wanted))

    def close(self) -> None:
        """Let the GPUs sleep."""
        self._nvml.close()


def users(gpu: Gpu, own: Collection[int] = ()) -> tuple[int, ...] | None:
    """Return the other processes that compute on a GPU; None where process ids prove nothing.

    Args:
        gpu: as it was read.
        own: processes that do not count.
    """
    if gpu.pids is None or not system.pids_are_the_kernels():
        return None
    return tuple(pid for pid in gpu.pids if pid not in own and not _shares(pid))


def first_user(others: Sequence[int]) -> str:
    """Name the first of some processes that compute on a GPU, in a few words."""
    return f"process {others[0]} of {system.owner_of(others[0])} computes on it"


def busy(gpu: Gpu, others: Sequence[int] | None) -> str:
    """Return why a GPU counts as used by others, in a few words; empty where it is free.

    Args:
        gpu: as it was read.
        others: the result of `users`. Where process ids prove nothing, a card is free if half its memory or more is.
    """
    if others:
        return first_user(others)
    if gpu.memory_free is None or gpu.memory_total is None:
        return ""
    half = gpu.memory_total // 2
    if gpu.memory_free < (half if others is None else min(NEEDED_BYTES, half)):
        return f"only {gpu.memory_free / 2**30:.1f} of {gpu.memory_total / 2**30:.0f} GiB of its memory are free"
    return ""


def _answer_of(process: "subprocess.Popen[bytes]") -> bytes:
    """Ask the process for the state of the GPUs; return its line.

    Raises:
        TimeoutError: the driver hangs.
        OSError: the process has ended.
    """
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"\n")
    line, until = b"", time.monotonic() + ANSWER_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, until - time.monotonic())):
                raise TimeoutError
            if not (content := process.stdout.read(1 << 16)):
                raise OSError("the process that asks has ended")
            line += content
    return line


def _sample(gpu: Gpu, own: Collection[int]) -> DeviceSample:
    is_ours = any(pid in own for pid in gpu.pids or ()) or (bool(own) and card_lock.holder(gpu.uuid) in own)
    total, free = gpu.memory_total or 0, gpu.memory_free
    return DeviceSample(
        gpu.label, gpu.utilisation, 0 if free is None else total - free, total, gpu.temperature, gpu.power, gpu.name,
        "" if is_ours else busy(gpu, users(gpu, own)),
    )  # fmt: skip


def _shares(pid: int) -> bool:
    """Say whether a process has ended, or serves others that share the card."""
    name = system.name_of(pid)
    return name is None or name.startswith(SHARING_SERVER)
