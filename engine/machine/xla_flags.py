"""What JAX's compiler is told, and which libraries it finds: flags from the driver, an environment made fit. Pure."""

import re
import shlex
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

LOOPS_IN_GRAPHS = 12080
"""CUDA of the driver from which a whole epoch can be one CUDA graph; with older ones such graphs may hang."""
LOOP_FLAG = "--xla_gpu_enable_command_buffer=+WHILE"
UNKNOWN = re.compile(r"Unknown flags? in XLA_FLAGS: (.+)")
"""What XLA says before it ends the process."""
CUDA_LIBRARIES = ("libcudart.so", "libcublas.so", "libcudnn.so", "libnvJitLink.so", "libcusparse.so", "libcusolver.so",
                  "libcufft.so")  # fmt: skip
"""A folder of LD_LIBRARY_PATH with one of these brings another CUDA than JAX's own."""
DRIVER = "libcuda.so.1"


class Flags(NamedTuple):
    """Value of XLA_FLAGS, and those of the user's that were left out of it."""

    value: str
    dropped: tuple[str, ...] = ()


def loop_flags(cuda: int | None) -> tuple[str, ...]:
    """Return the flags with which a driver takes the loop over batches as one graph.

    Args:
        cuda: newest CUDA that the driver supports, 12080 for 12.8; None where that is not known.
    """
    return (LOOP_FLAG,) if cuda is not None and cuda >= LOOPS_IN_GRAPHS else ()


def combined(users: str, own: Sequence[str], refused: Collection[str] = ()) -> Flags:
    """Put the user's XLA_FLAGS behind our own, so that theirs count where both set the same.

    Args:
        users: the variable's value; a path of a file with flags is passed on as it is, alone.
        own: flags of ours.
        refused: flags that this XLA does not know, as it printed them.
    """
    try:
        words = shlex.split(users)
    except ValueError:
        return Flags(" ".join(own), (users.strip(),))
    if words and not words[0].startswith("-"):
        return Flags(users) if not refused else Flags(" ".join(own), (users.strip(),))
    names = {flag.partition("=")[0] for flag in refused}
    kept = [word for word in words if word.partition("=")[0] not in names]
    taken = {word.partition("=")[0] for word in kept}
    mine = [flag for flag in own if flag.partition("=")[0] not in taken | names]
    return Flags(" ".join([*mine, *kept]), tuple(word for word in words if word not in kept))


def unknown_flags(complaint: str) -> tuple[str, ...]:
    """Return the flags that XLA refused, from what it printed."""
    found = UNKNOWN.search(complaint)
    return tuple(found[1].split()) if found else ()


def without_other_cuda(path: str, names_in: Callable[[str], Collection[str]]) -> str:
    """Return LD_LIBRARY_PATH without the folders that hold another CUDA; those with the driver in them stay.

    Args:
        path: the variable's value.
        names_in: tells the names of the files in a folder.
    """
    return ":".join(folder for folder in path.split(":") if folder and not _has_other_cuda(names_in(folder)))


def _has_other_cuda(names: Collection[str]) -> bool:
    return DRIVER not in names and any(name.startswith(CUDA_LIBRARIES) for name in names)
