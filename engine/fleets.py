"""Workers on other machines: what a fleet consists of, and the command lines that start it. Pure.

A launch prefix before a worker's own command line, `srun ...` or `ssh ... BOX`, starts it on a machine that sees the
same folders.
"""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from engine import boxes
from engine.placement import Slot
from engine.protocol import Fleet

MAX_WORKERS = 1_000

PIPE_OPTIONS = {
    "output": "o", "input": "i", "pty": "", "label": "l", "ntasks": "n", "ntasks-per-node": "", "ntasks-per-gpu": "",
    "multi-prog": "", "test-only": "", "help": "h", "usage": "", "version": "V", "job-name": "J",
}  # fmt: skip
"""Options of `srun` that would break the worker's pipe, or that the host gives itself; the short form of each."""
SHORT_FLAGS = "EHkKlOQsuvXZhV"
"""Short options of `srun` that take no value, so that others may follow in the same word."""


def check(fleet: Fleet) -> None:
    """See that a fleet can be launched.

    Raises:
        ValueError: it cannot; one sentence says why.
    """
    if not 0 <= fleet.workers <= MAX_WORKERS:
        raise ValueError(f"{fleet.workers} workers: 1 to {MAX_WORKERS:,} can be asked for.")
    if fleet.workers and fleet.slurm is None:
        raise ValueError("A number of workers is for Slurm; give --slurm and srun's options too.")
    for box in fleet.ssh:
        boxes.parse(box)
    if fleet.slurm is not None:
        srun_options(fleet.slurm)


def srun_options(text: str) -> tuple[str, ...]:
    """Return options of `srun` as words.

    Raises:
        ValueError: they are no options, or the worker's pipe would not survive them.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"srun's options cannot be read: {error}.") from error
    may_be_value = False
    for word in words:
        if not word.startswith("-") or word.strip("-") == "":
            if not may_be_value:
                raise ValueError(f"{word[:40]!r} is no option of srun; the program to run is added by itself.")
            may_be_value = False
            continue
        if refused := _pipe_option(word):
            raise ValueError(f"srun's {refused} is not for a worker: its input and output are the pipe to it.")
        may_be_value = "=" not in word
    return words


def _pipe_option(word: str) -> str:
    """Return the option of `PIPE_OPTIONS` that a word is, or may be short for; else an empty text."""
    if word.startswith("--"):
        name = word[2:].partition("=")[0]
        return next((f"--{known}" for known in PIPE_OPTIONS if known.startswith(name)), "")
    refused = {short: f"--{name} (-{short})" for name, short in PIPE_OPTIONS.items() if short}
    for letter in word[1:]:
        if letter in refused:
            return refused[letter]
        if letter not in SHORT_FLAGS:
            return ""  # what follows is its value
    return ""


@lru_cache(16)
def slots(fleet: Fleet, trainer: str = "fast") -> tuple[Slot, ...]:
    """Return every place of the fleet for a worker of this kind."""
    found: list[Slot] = []
    if fleet.slurm is not None:
        options = srun_options(fleet.slurm)
        for index in range(fleet.workers or 1):
            found.append(Slot(f"slurm{index}", trainer=trainer, slurm=options))
    named = [boxes.parse(box) for box in fleet.ssh]
    for place, (box, python) in enumerate(named):
        before = sum(other == box for other, _ in named[:place])
        count = sum(other == box for other, _ in named)
        name = f"{box}#{before + 1}" if before else box
        found.append(Slot(name, trainer=trainer, box=box, python=python, share=(before, count)))
    return tuple(found)


def lacking(
    fleet: Fleet, groups: Mapping[str, int], coming: Collection[Slot], taken: Iterable[str], room: int
) -> list[Slot]:
    """Return the places in which workers are to be started: one for each group that waits and has none on its way.

    Args:
        groups: how many wait, for each kind of worker.
        coming: places whose workers are not ready yet.
        taken: names of places that have a worker, or are about to.
        room: workers that may be started now.
    """
    held = set(taken)
    found: list[Slot] = []
    for trainer, count in groups.items():
        wanted = count - sum(slot.trainer == trainer for slot in coming)
        free = [slot for slot in slots(fleet, trainer) if slot.name not in held]
        new = free[: max(0, min(wanted, room - len(found)))]
        held.update(slot.name for slot in new)
        found += new
    return found


def has(fleet: Fleet, slot: Slot) -> bool:
    """Say whether a worker's place is one of the fleet's."""
    return slot in _slot_set(fleet, slot.trainer)


@lru_cache(16)
def _slot_set(fleet: Fleet, trainer: str) -> frozenset[Slot]:
    return frozenset(slots(fleet, trainer))


def size(fleet: Fleet) -> int:
    """Count the workers that there are at most."""
    return (max(1, fleet.workers) if fleet.slurm is not None else 0) + len(fleet.ssh)


def asks_for_gpu(fleet: Fleet) -> bool:
    """Say whether Slurm's workers will have a GPU, as far as srun's options tell."""
    return any(re.match(r"-G|--gpus|--gres=gpu|gpu", word) for word in srun_options(fleet.slurm or ""))


def command_line(slot: Slot, worker: Sequence[str], *, job_name: str = "") -> list[str]:
    """Return the command line that runs a worker in its slot.

    Args:
        slot: where.
        worker: the command line as it would be on this machine, its Python first.
        job_name: what Slurm calls the job, so that it can be found in Slurm's queue.
    """
    if slot.box:
        return boxes.over_ssh(slot.box, slot.python or worker[0], worker[1:], option="--worker-ssh")
    if slot.slurm is not None:
        named = [f"--job-name={job_name}"] if job_name else []
        return ["srun", "-Q", "--unbuffered", "-n1", *slot.slurm, *named, *worker]
    return list(worker)
