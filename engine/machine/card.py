"""How a worker gets its GPU: it locks it, checks it again under the lock, probes it, and only then loads JAX.

A worker without a GPU sees none. In one with a GPU, JAX uses CUDA alone and cannot fall back to the CPU.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path

import msgspec

from engine.core.spec import Network
from engine.machine import card_lock, gpus, probe, system, xla_flags
from engine.machine.probe import ProbeResult
from engine.machine.user_folders import cache_folder

BUSY, UNUSABLE, SICK, HUNG, UNSEEN = 75, 69, 74, 70, 78
"""Exit codes of a worker, from sysexits.h: others use its card; the card cannot be used; it failed; a graph hung;
TensorFlow does not see it."""
REASONS = {
    BUSY: "Others compute on its GPU.",
    UNUSABLE: "Its GPU cannot be used.",
    SICK: "Its GPU failed.",
    UNSEEN: "TensorFlow does not see its GPU.",
    HUNG: "Its GPU hung in an epoch that was one CUDA graph; from now on its steps are launched one by one.",
}
"""A sentence for each, where the worker itself reported no reason."""
NONE, GIVEN = "none", "given"
"""Instead of a UUID: no GPU; the first of those in CUDA_VISIBLE_DEVICES, as Slurm sets it."""
SEEN_VARIABLE = "SVHN_TUI_CARD"
"""The probe's result (`ProbeResult` as JSON), for the worker that starts again with another LD_LIBRARY_PATH."""
FIRST_EPOCH_SECONDS = 300.0
"""Time limit of a first epoch that is one CUDA graph: some drivers hang in such a graph."""
OWN_MODEL_SECONDS = 3600.0
"""The same for an own model, of which nobody knows how long its epochs are."""
UNKNOWN = "unknown"
"""Stands for the driver's version where NVML does not report it."""
REFUSALS = {probe.CUDA_ERRORS[2]: BUSY, probe.CUDA_ERRORS[46]: BUSY, probe.HANGS: SICK}
"""By reason of a probe: others use the card; or it is tried once more, as one whose libraries were read too slowly."""


class CardRefused(Exception):
    """A worker cannot use its card: `status` is its exit code, the message one sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def claim(wanted: str, environment: MutableMapping[str, str], host: str = "") -> ProbeResult | None:
    """Lock and probe the card that this process is to compute on, and set the environment for it.

    Where LD_LIBRARY_PATH has to change, the process executes itself again, with the card still locked.

    Args:
        wanted: the card's or slice's UUID, `none`, or `given`.
        environment: of this process.
        host: the host of this worker: the workers of one host may share a card.

    Returns:
        The probe's result; None without a GPU.

    Raises:
        CardRefused: another process computes on it, or it cannot be used.
    """
    if wanted == NONE:
        hide(environment)
        return None
    if before := environment.pop(SEEN_VARIABLE, ""):
        seen = msgspec.json.decode(before, type=ProbeResult)
        environment.update({**dict(seen.environment), "JAX_PLATFORMS": "cuda"})
        return seen
    if wanted != GIVEN:
        environment["CUDA_VISIBLE_DEVICES"] = wanted
    lock = _locked(wanted, host) if wanted != GIVEN else None
    inventory = gpus.read()
    if lock is not None:
        _check_again(wanted, inventory, host)
    environment["JAX_PLATFORMS"] = "cuda"
    does_hang = inventory.problem == gpus.HANGS  # then the probe decides, and nothing else is asked of the driver
    cuda = probe.cards(environment).cuda if inventory.cuda is None and not does_hang else inventory.cuda
    environment["XLA_FLAGS"] = xla_flags.flags_for(cuda, environment, has_hung=has_hung(inventory.driver))
    seen = probe.look(environment)
    if not seen.is_usable:
        raise CardRefused(REFUSALS.get(seen.reason, UNUSABLE), seen.reason)
    if seen.count > 1:
        idle = (
            f"{seen.count} GPUs were given to this worker and one is used: ask for one a worker, as --gres=gpu:1 does."
        )
        seen = msgspec.structs.replace(seen, remarks=(*seen.remarks, idle))
    environment.update(seen.environment)
    if "LD_LIBRARY_PATH" in dict(seen.environment):
        _execute_again(seen, environment, lock)
    return seen


def is_in_use(gpu: gpus.Gpu) -> bool:
    """Say whether a worker of svhn-tui trains on a GPU, or others use it."""
    return card_lock.holder(gpu.uuid) is not None or bool(gpus.busy(gpu, gpus.users(gpu)))


def free(some: Sequence[gpus.Gpu]) -> tuple[gpus.Gpu, ...]:
    """Return the GPUs on which nobody computes now; all of them where there is none, so that a worker waits."""
    return tuple(gpu for gpu in some if not is_in_use(gpu)) or tuple(some)


def others_on(own_bytes: int) -> str:
    """Return who else uses the memory of this process's card, in a few words; empty where nobody does.

    Args:
        own_bytes: what this process has reserved there.
    """
    uuid = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpu = next((gpu for gpu in gpus.read().gpus if uuid and gpu.uuid == uuid), None)
    return "" if gpu is None else holders(gpu, gpus.users(gpu, own=(os.getpid(),)), own_bytes)


def holders(gpu: gpus.Gpu, others: Sequence[int] | None, own_bytes: int) -> str:
    """Return who else uses a card whose memory has run out, in a few words; empty where nobody does.

    Args:
        gpu: as it was read.
        others: the result of `gpus.users`.
        own_bytes: what this process has reserved on it, from which the others' share follows where process ids prove
            nothing.
    """
    if others:
        return gpus.first_user(others)
    if others is not None or gpu.memory_free is None or gpu.memory_total is None:
        return ""
    held = gpu.memory_total - gpu.memory_free - own_bytes
    return f"others hold {held / 2**30:.1f} GiB of its memory" if held > gpus.NEEDED_BYTES else ""


def has_hung(driver: str) -> bool:
    """Say whether an epoch as one CUDA graph hung on this machine, with this version of the driver."""
    try:
        return (driver or UNKNOWN) in _hung().read_text().split()
    except OSError:
        return False


def note_hang(driver: str) -> None:
    """Record that a graph hung with this version of the driver: no epoch is launched as one graph any more."""
    with contextlib.suppress(OSError), _hung().open("a") as file:
        file.write(f"{driver or UNKNOWN}\n")


def first_epoch_seconds(network: Network) -> float:
    """Return the time limit of a network's first epoch as one CUDA graph."""
    return FIRST_EPOCH_SECONDS if network.model is None else OWN_MODEL_SECONDS


@contextlib.contextmanager
def watched(seconds: float) -> Iterator[None]:
    """End this process with `HUNG` if the block takes longer than `seconds` and epochs are one CUDA graph.

    Nothing else ends a call that hangs in the driver. The next worker launches step by step, and is not watched.
    """
    if xla_flags.LOOP_FLAG not in os.environ.get("XLA_FLAGS", ""):
        yield
        return
    driver = gpus.driver()  # asked now: one that hangs may not answer any more
    timer = threading.Timer(seconds, _end_hung, [driver])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end_hung(driver: str) -> None:
    note_hang(driver)
    os._exit(HUNG)


def _hung() -> Path:
    return cache_folder("gpu") / "drivers-that-hung"


def hide(environment: MutableMapping[str, str]) -> None:
    """Hide all GPUs from a process with this environment."""
    environment["CUDA_VISIBLE_DEVICES"] = ""
    environment["JAX_PLATFORMS"] = "cpu"


def _locked(uuid: str, host: str) -> int:
    """Lock a card until this process ends."""
    try:
        lock = card_lock.acquire(uuid, host)
    except OSError as error:
        raise CardRefused(UNUSABLE, f"The GPU cannot be locked: {error}") from error
    if lock is None:
        holder = card_lock.holder(uuid)
        raise CardRefused(BUSY, f"Another svhn-tui trains on this GPU (process {holder}).")
    return lock


def _check_again(uuid: str, inventory: gpus.Inventory, host: str) -> None:
    """Check that no other process began to use the card before it was locked.

    Raises:
        CardRefused: one did, or the card is broken.
    """
    gpu = next((gpu for gpu in inventory.gpus if gpu.uuid == uuid), None)
    if gpu is not None and gpu.problem:
        raise CardRefused(UNUSABLE, gpu.problem)
    if gpu is None:
        return
    beside = system.descendants(os.getppid()) if host else ()
    above = system.ancestors(os.getpid())  # such as the notebook from which all was started
    others = gpus.users(gpu, own={os.getpid(), *above, *beside})
    if others is None and card_lock.is_joined(uuid, host):
        others = ()  # some of the memory is another worker's of this host
    if reason := gpus.busy(gpu, others):
        raise CardRefused(BUSY, f"Others use this GPU: {reason}.")


def _execute_again(seen: ProbeResult, environment: MutableMapping[str, str], lock: int | None) -> None:
    """Execute this program again: the loader reads LD_LIBRARY_PATH only at the start of a program."""
    if lock is not None:
        os.set_inheritable(lock, True)
    settled = (("XLA_FLAGS", environment["XLA_FLAGS"]), *seen.environment)
    seen = msgspec.structs.replace(seen, environment=settled)
    changed = {**environment, SEEN_VARIABLE: msgspec.json.encode(seen).decode()}
    os.execve(sys.executable, sys.orig_argv, changed)
