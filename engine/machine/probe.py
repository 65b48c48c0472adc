"""Whether JAX can compute on a GPU: a short process (`engine.machine.probe_process`) tries it before a worker starts.

NVML may list a card that CUDA cannot use, and the reverse; JAX falls back to the CPU silently. So the driver is queried
by its own first call (cuInit), then JAX has to compute something. A card that is exclusive to one process is free again
when the probe has ended.
"""

import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import msgspec

from engine.machine import child_process, gpu_errors, tool_process, xla_flags
from engine.machine.child_process import ChildCommand
from engine.machine.tool_process import TIMED_OUT, Outcome

SECONDS = 120.0
"""A card that does not answer by then has hung; the first time after an installation, 1 GB of libraries is read."""

CUDA_ERRORS = {
    2: "The card's memory is full: see with nvidia-smi who uses it.",
    3: "NVIDIA's driver could not be initialised: see whether nvidia-smi works.",
    34: "The libcuda.so.1 that is found is a stub for compiling: take the folder with `stubs` out of LD_LIBRARY_PATH.",
    35: "NVIDIA's driver is older than this CUDA: update it, or `make install SVHN_TUI_CUDA=cuda12`.",
    46: "The card is in use by a process that has it for itself, or is set to take none: see nvidia-smi.",
    100: "The driver gives this process no GPU. In a container, start it with `--gpus all`; in a Slurm job, ask for "
    "one with `--gres=gpu:1`.",
    101: "CUDA_VISIBLE_DEVICES names a GPU that this process cannot use.",
    802: "The cards are not ready: the fabric manager does not run. `sudo systemctl start nvidia-fabricmanager`.",
    803: "NVIDIA's driver and its libraries have different versions, as after an update: reboot.",
    804: "A library for forward compatibility (cuda-compat) is found that this card does not support: take its folder "
    "out of LD_LIBRARY_PATH, or remove the package.",
    999: "The driver reports an unknown error, as after a suspend or a crash of the card: reload its module "
    "(`sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm`), or reboot.",
}
"""A sentence for each error of cuInit: what is wrong, and what to do about it."""
NO_LIBRARY = (
    "There is no libcuda.so.1: NVIDIA's driver is not installed here. In a container, start it with `--gpus all`."
)
NO_PLUGIN = "JAX is installed for the CPU alone: `make install SVHN_TUI_CUDA=cuda12` in the project's folder."
HANGS = (
    f"JAX did not answer on it within {SECONDS:.0f} s. Either the card hangs: nvidia-smi shows that, and a reboot "
    "mends it. Or JAX's libraries were read for the first time from a slow disk: choose the card again (--gpus, or W)."
)
OTHER_CUDA = "LD_LIBRARY_PATH names another CUDA than JAX's own, and JAX cannot use it: take it out of the variable."


PLUGINS = ("cuda12", "cuda13")


class ProbeResult(msgspec.Struct, frozen=True):
    """What a probe saw: the GPU, or why there is none."""

    platform: str = ""
    """`gpu` where JAX computes on it."""
    kind: str = ""
    uuid: str = ""
    pci: str = ""
    count: int = 0
    """GPUs that the process was given; JAX's workers use the first."""
    memory: int | None = None
    """Bytes that JAX may allocate."""
    cuda: int | None = None
    """Newest CUDA that the driver supports, 12080 for 12.8."""
    reason: str = ""
    """Why JAX does not use the GPU, and what to do about it."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that a process needs to use it, and their values."""
    remarks: tuple[str, ...] = ()
    """What was changed in the user's environment, in sentences."""

    @property
    def is_usable(self) -> bool:
        """JAX computes on the card."""
        return self.platform == "gpu" and not self.reason


class CudaCards(msgspec.Struct, frozen=True):
    """The cards that the driver gives a process, by UUID as CUDA numbers them, or why it gives none."""

    uuids: tuple[str, ...] = ()
    cuda: int | None = None
    """Newest CUDA that the driver supports, 12080 for 12.8."""
    reason: str = ""
    names: tuple[str, ...] = ()


def look(environment: Mapping[str, str], ask: Callable[[Mapping[str, str]], Outcome] | None = None) -> ProbeResult:
    """Probe the first GPU of an environment, as it is and then without the libraries of another CUDA.

    Flags that this XLA does not know, which would end a worker, are left out.

    Args:
        environment: CUDA_VISIBLE_DEVICES in it selects the card.
        ask: runs the probe; replaced in tests.
    """
    ask = ask or _probe
    seen = _with_known_flags(environment, ask)
    path = environment.get("LD_LIBRARY_PATH", "")
    filtered = xla_flags.without_other_cuda(path, _names_in)
    if seen.is_usable or filtered == path or seen.reason == HANGS:
        return seen
    again = _with_known_flags({**environment, "LD_LIBRARY_PATH": filtered}, ask)
    if not again.is_usable:
        return seen
    remark = f"LD_LIBRARY_PATH names another CUDA; JAX's workers run with {filtered or 'nothing'} in it."
    return msgspec.structs.replace(
        again, environment=(*again.environment, ("LD_LIBRARY_PATH", filtered)), remarks=(*again.remarks, remark)
    )


def cards(environment: Mapping[str, str]) -> CudaCards:
    """Ask the driver for all cards that this process may use, whatever CUDA_VISIBLE_DEVICES says."""
    everything = {name: value for name, value in environment.items() if name != "CUDA_VISIBLE_DEVICES"}
    outcome = _probe(everything, "--cards")
    try:
        return msgspec.json.decode(outcome.stdout, type=CudaCards)
    except msgspec.MsgspecError:
        return CudaCards(reason=_end_of(outcome))


def order_of_cards(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the UUIDs of all cards as CUDA numbers them; empty where the driver lists none."""
    return cards(environment).uuids


def plugins() -> tuple[str, ...]:
    """Return those of JAX's plugins for GPUs that are installed: `cuda12`, `cuda13`."""
    return tuple(kind for kind in PLUGINS if find_spec(f"jax_{kind}_plugin") is not None)


def cuda_reason(code: int) -> str:
    """Return a sentence for an error of the driver."""
    return CUDA_ERRORS.get(code, f"NVIDIA's driver reports error {code} at its start: see whether nvidia-smi works.")


def jax_reason(message: str) -> str:
    """Return a sentence for the error with which JAX does not use a GPU that the driver lists."""
    line = next((line for line in message.strip().splitlines() if line.strip()), "it does not say why").strip()[:300]
    words = message.lower()
    if any(name in words for name in ("cusparse", "cudnn", "cublas", "cusolver", "cufft", "cupti", "nvjitlink")) and (
        "not found" in words or "unable to load" in words or "version" in words
    ):
        return f"{OTHER_CUDA} JAX says: {line}"
    if "blas support" not in words and (gpu_errors.is_out_of_memory(message) or "out of memory" in words):
        return CUDA_ERRORS[2]
    if "blas support" in words or "cublas_status" in words:
        return f"cuBLAS cannot be used on this card, or its memory is full: {line}"
    return f"JAX cannot use the GPU: {line}"


def _with_known_flags(environment: Mapping[str, str], ask: Callable[[Mapping[str, str]], Outcome]) -> ProbeResult:
    outcome = ask(environment)
    refused = xla_flags.unknown_flags(outcome.stderr)
    if not refused:
        return _seen(outcome)
    flags = xla_flags.without(environment.get("XLA_FLAGS", ""), refused)
    seen = _seen(ask({**environment, "XLA_FLAGS": flags}))
    return msgspec.structs.replace(seen, environment=(*seen.environment, ("XLA_FLAGS", flags)))


def _seen(outcome: Outcome) -> ProbeResult:
    try:
        return msgspec.json.decode(outcome.stdout, type=ProbeResult)
    except msgspec.MsgspecError:
        return ProbeResult(reason=_end_of(outcome))


def _end_of(outcome: Outcome) -> str:
    if outcome.status == TIMED_OUT:
        return HANGS
    return f"The process that asks JAX for this GPU {outcome.how_ended}."


def _probe(environment: Mapping[str, str], *options: str) -> Outcome:
    line = child_process.module_line("engine.machine.probe_process", *options)
    return tool_process.run(ChildCommand((sys.executable, *line), dict(environment)), seconds=SECONDS)


def _names_in(folder: str) -> list[str]:
    try:
        return [path.name for path in Path(folder).iterdir()]
    except OSError:
        return []
