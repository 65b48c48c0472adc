"""The findings of `svhn-tui doctor` about GPUs: which would train, and why the others would not."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from engine.core.finding import Finding
from engine.machine import card_choice, card_lock, child_process, gpus, probe, system
from engine.machine.card_choice import GpuChoice
from engine.machine.gpus import Gpu
from engine.machine.probe import ProbeResult

AT_ONCE = 4
"""Cards that are probed at a time: JAX needs a gigabyte of the machine's memory for each."""
BOTH = (
    "JAX is installed for CUDA 12 and for CUDA 13, which break each other",
    "`make install SVHN_TUI_CUDA=cuda12` in the project's folder begins anew.",
)


def examine(
    environment: Mapping[str, str],
    choice: GpuChoice | None = None,
    look: Callable[[Mapping[str, str]], ProbeResult] = probe.look,
) -> Iterator[Finding]:
    """Examine every GPU that may be used, as a worker would."""
    chosen = card_choice.choose(environment) if choice is None else choice
    for problem in chosen.problems:
        yield Finding("note", problem.rstrip("."))
    if not chosen.gpus:
        return
    if probe.plugins() == probe.PLUGINS:
        yield Finding("note", *BOTH)
    for remark in chosen.remarks:
        yield Finding("note", remark.rstrip("."))
    inherited = child_process.training_environment(environment)
    with ThreadPoolExecutor(AT_ONCE) as beside:
        yield from beside.map(lambda gpu: _finding(gpu, inherited, look), chosen.gpus)


def _finding(gpu: Gpu, inherited: Mapping[str, str], look: Callable[[Mapping[str, str]], ProbeResult]) -> Finding:
    name = f"{gpu.label} {gpu.name}".strip()
    if (holder := card_lock.holder(gpu.uuid)) is not None:
        return Finding("fine", f"{name}: a worker of svhn-tui trains on it (process {holder})")
    if reason := gpus.busy(gpu, gpus.users(gpu, system.ancestors(os.getpid()))):
        return Finding("note", f"{name} is left alone: {reason}")
    seen = look({**inherited, "CUDA_VISIBLE_DEVICES": gpu.uuid})
    if not seen.is_usable:
        return Finding("note", f"{name} is not used: {seen.reason.rstrip('.')}")
    memory = f", {gpu.memory_total / 2**30:,.0f} GiB" if gpu.memory_total else ""
    remarks = "".join(f" {remark}" for remark in seen.remarks)
    return Finding("fine", f"{name}{memory}: JAX computes on it", remarks.strip())
