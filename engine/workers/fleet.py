"""Workers on other machines: the slots of a fleet, and the command lines that start workers in them. Pure.

A launch prefix before a worker's own command line, `srun ...` or `ssh ... BOX`, starts it on a machine that sees the
same folders.
"""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from engine.protocol import Fleet
from engine.scheduling.slot import Slot
from engine.workers import ssh as boxes

MAX_WORKERS = 1_000

PIPE_OPTIONS = {
    "output": "o", "input": "i", "pty": "", "label": "l", "ntasks": "n", "ntasks-per-node": "", "ntasks-per-gpu": "",
    "multi-prog": "", "test-only": "", "help": "h", "usage": "", "version": "V", "job-name": "J",
}  # fmt: skip
"""Options of `srun` that would break the worker's pipe, or that the host sets itself; the short form of each."""
SHORT_FLAGS = "EHkKlOQsuvXZhV"
"""Short options of `srun` that take no value, so that others may follow in the same word."""
HARMLESS_OPTIONS = frozenset((
    "accel-bind", "account", "acctg-freq", "begin", "cluster-constraint", "clusters", "comment", "constraint",
    "contiguous", "core-spec", "cores-per-socket", "cpu-bind", "cpu-freq", "cpus-per-gpu", "cpus-per-task", "deadline",
    "delay-boot", "dependency", "disable-status", "distribution", "exact", "exclude", "exclusive", "export", "extra",
    "extra-node-info", "gpu-bind", "gpu-freq", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gres",
    "gres-flags", "hint", "hold", "immediate", "jobid", "kill-on-bad-exit", "licenses", "mail-type", "mail-user",
    "mcs-label", "mem", "mem-bind", "mem-per-cpu", "mem-per-gpu", "mincpus", "mpi", "msg-timeout", "network", "nice",
    "no-kill", "no-requeue", "nodelist", "nodes", "oom-kill-step", "overcommit", "overlap", "oversubscribe",
    "partition", "power", "prefer", "priority", "profile", "qos", "quiet", "quit-on-interrupt", "reboot", "relative",
    "reservation", "resv-ports", "share", "signal", "slurmd-debug", "sockets-per-node", "spread-job", "switches",
    "thread-spec", "threads", "threads-per-core", "time", "time-min", "tmp", "tres-bind", "tres-per-job",
    "tres-per-task", "unbuffered", "use-min-nodes", "verbose", "wait", "wait-all-nodes", "wckey",
))  # fmt: skip
"""Options of `srun` that run no program, write no file and set no variable on a node."""
HARMFUL_OPTIONS = ("bcast", "bcast-exclude", "chdir", "container", "epilog", "error", "export-file", "nodefile",
                   "prolog", "propagate", "send-libs", "task-epilog", "task-prolog")  # fmt: skip
"""Options that do; `srun` accepts abbreviations of them."""
HARMFUL_SHORT = {"D": "--chdir (-D)", "e": "--error (-e)", "F": "--nodefile (-F)"}
ASKS_FOR_GPU = re.compile(rf"-[{SHORT_FLAGS}]*G|--gpus|--(gres|tres-per-\w+)=\S*(gpu|shard)")
"""An option of `srun` with its value."""
ONE_GPU = r"((gpu)?\d+(:\d+)?|(GPU|MIG)-[\w/-]+)"
"""An index, a slice such as 1:0, or a UUID or its beginning."""
GPUS = re.compile(rf"|none|{ONE_GPU}(,{ONE_GPU})*", re.ASCII | re.IGNORECASE)
EXPORTED = re.compile(r"(NONE|NIL|ALL|[A-Za-z_]\w*)(,[A-Za-z_]\w*)*", re.ASCII)
"""A value of `--export` with names alone: `NAME=VALUE` would set a variable."""


def parse(slurm: str | None, workers: int, ssh: str, gpus: str = "", *, on_command_line: bool = False) -> Fleet:
    """Parse a fleet as it is typed, on a command line or in a dialog.

    Args:
        slurm: options of `srun`; None: Slurm is not used.
        workers: number of Slurm workers at a time.
        ssh: boxes, separated by commas or spaces.
        gpus: GPUs of this machine, as `Fleet.gpus`.
        on_command_line: it was typed there, where options of `srun` that run programs are allowed.

    Raises:
        ValueError: the fleet cannot be launched; one sentence says why.
    """
    named = tuple(ssh.replace(",", " ").split())
    cards = ",".join(gpus.replace(",", " ").split())
    fleet = Fleet(slurm=slurm, ssh=named, workers=workers if slurm is not None else 0, gpus=cards)
    check(fleet, on_command_line=on_command_line)
    return fleet


def check(fleet: Fleet, *, on_command_line: bool = False) -> None:
    """Check that a fleet can be launched.

    Args:
        fleet: where to train.
        on_command_line: the user typed it there, where options of `srun` that run programs are allowed.

    Raises:
        ValueError: it cannot; one sentence says why.
    """
    if not 0 <= fleet.workers <= MAX_WORKERS:
        raise ValueError(f"{fleet.workers} workers: 1 to {MAX_WORKERS:,} can be asked for.")
    if fleet.workers and fleet.slurm is None:
        raise ValueError("A number of workers is for Slurm; give --slurm and srun's options too.")
    if not GPUS.fullmatch(fleet.gpus):
        raise ValueError(f"{fleet.gpus[:40]!r} names no GPUs: such as 1,3 as nvidia-smi numbers them, a UUID, or none.")
    if fleet.gpus and not fleet.is_local:
        raise ValueError("GPUs are chosen for this machine; Slurm and other boxes give their own.")
    for box in fleet.ssh:
        boxes.parse(box)
    if fleet.slurm is not None:
        words = srun_options(fleet.slurm)
        if not on_command_line and (refused := _harmful_option(words)):
            raise ValueError(
                f"srun's {refused} may run programs, write files or set the environment on a node: it is taken from a "
                "command line alone, as in `svhn-tui run all --slurm OPTIONS`."
            )


def srun_options(text: str) -> tuple[str, ...]:
    """Split options of `srun` into words.

    Raises:
        ValueError: they are not options, or would break the worker's pipe.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"srun's options cannot be read: {error}.") from error
    may_be_value = False
    for word in words:
        if not word.startswith("-") or word.strip("-") == "":
            if not may_be_value:
                raise ValueError(f"{word[:40]!r} is not an option of srun; the program to run is added by itself.")
            may_be_value = False
            continue
        if refused := _pipe_option(word):
            raise ValueError(f"srun's {refused} is not for a worker: its input and output are the pipe to it.")
        may_be_value = "=" not in word
    return words


def _pipe_option(word: str) -> str:
    """Return the option of `PIPE_OPTIONS` that a word is or abbreviates; empty where there is none."""
    if word.startswith("--"):
        name = word[2:].partition("=")[0]
        return next((f"--{known}" for known in PIPE_OPTIONS if known.startswith(name)), "")
    refused = {short: f"--{name} (-{short})" for name, short in PIPE_OPTIONS.items() if short}
    for letter in word[1:]:
        if letter in refused:
            return refused[letter]
        if letter not in SHORT_FLAGS:
            return ""  # the rest is its value
    return ""


def _harmful_option(words: Sequence[str]) -> str:
    """Return the first option that is not known to be harmless; empty where there is none."""
    for word, following in zip(words, (*words[1:], ""), strict=False):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            if not _is_harmless(name):
                return f"--{name[:40]}"
            if "export".startswith(name) and not EXPORTED.fullmatch(value if "=" in word else following):
                return "--export with values"
        elif word.startswith("-"):
            for letter in word[1:]:
                if letter in HARMFUL_SHORT:
                    return HARMFUL_SHORT[letter]
                if letter not in SHORT_FLAGS:
                    break  # the rest is its value
    return ""


def _is_harmless(name: str) -> bool:
    """Say whether a name, which may be abbreviated, is that of a harmless option of `srun`."""
    if name in HARMLESS_OPTIONS:
        return True
    may_be_harmful = any(known.startswith(name) for known in HARMFUL_OPTIONS)
    return not may_be_harmful and any(known.startswith(name) for known in HARMLESS_OPTIONS)


@lru_cache(16)
def slots(fleet: Fleet, trainer: str = "fast") -> tuple[Slot, ...]:
    """Return every slot of the fleet for a worker of this kind."""
    every: list[Slot] = []
    if fleet.slurm is not None:
        options = srun_options(fleet.slurm)
        for index in range(fleet.workers or 1):
            every.append(Slot(f"slurm{index}", trainer=trainer, slurm=options))
    named = [boxes.parse(box) for box in fleet.ssh]
    for index, (box, python) in enumerate(named):
        before = sum(other == box for other, _ in named[:index])
        count = sum(other == box for other, _ in named)
        name = f"{box}#{before + 1}" if before else box
        every.append(Slot(name, trainer=trainer, box=box, python=python, share=(before, count)))
    return tuple(every)


def lacking(
    fleet: Fleet, groups: Mapping[str, int], coming: Collection[Slot], occupied: Iterable[str], room: int
) -> list[Slot]:
    """Return the slots in which workers are to be started: one for each waiting group beyond the workers that start.

    Args:
        fleet: where to train.
        groups: number of waiting groups, for each kind of worker.
        coming: slots whose workers are not ready yet.
        occupied: names of slots that have a worker, or get one now.
        room: number of workers that may be started now.
    """
    used = set(occupied)
    chosen: list[Slot] = []
    for trainer, count in groups.items():
        wanted = count - sum(slot.trainer == trainer for slot in coming)
        free = [slot for slot in slots(fleet, trainer) if slot.name not in used]
        new = free[: max(0, min(wanted, room - len(chosen)))]
        used.update(slot.name for slot in new)
        chosen += new
    return chosen


def has(fleet: Fleet, slot: Slot) -> bool:
    """Say whether a worker's slot belongs to the fleet."""
    return slot in _slot_set(fleet, slot.trainer)


@lru_cache(16)
def _slot_set(fleet: Fleet, trainer: str) -> frozenset[Slot]:
    return frozenset(slots(fleet, trainer))


def size(fleet: Fleet) -> int:
    """Return the largest number of workers of a fleet."""
    return (max(1, fleet.workers) if fleet.slurm is not None else 0) + len(fleet.ssh)


def asks_for_gpu(fleet: Fleet) -> bool:
    """Say whether the fleet's options of `srun` ask for a GPU."""
    return options_ask_for_gpu(srun_options(fleet.slurm or ""))


def options_ask_for_gpu(words: Sequence[str]) -> bool:
    """Say whether these options of `srun` ask for a GPU."""
    following = (*words[1:], "")
    return any(ASKS_FOR_GPU.match(word if "=" in word else f"{word}={value}")
               for word, value in zip(words, following, strict=False))  # fmt: skip


def command_line(slot: Slot, worker: Sequence[str], *, job_name: str = "") -> list[str]:
    """Return the command line that runs a worker in its slot.

    Args:
        slot: where.
        worker: the command line as it would be on this machine, its Python first.
        job_name: name of the job in Slurm's queue.
    """
    if slot.box:
        return boxes.over_ssh(slot.box, slot.python or worker[0], worker[1:], option="--worker-ssh")
    if slot.slurm is not None:
        named = [f"--job-name={job_name}"] if job_name else []
        return ["srun", "-Q", "--unbuffered", "-n1", *slot.slurm, *named, *worker]
    return list(worker)
