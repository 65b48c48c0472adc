"""What JAX's compiler is told, and which libraries it finds: flags from the driver, an environment made fit. Pure.

The user's own XLA_FLAGS never reach training: what is trained follows from its spec alone.
"""

import re
from collections.abc import Callable, Collection

LOOPS_IN_GRAPHS = 12080
"""CUDA of the driver from which a whole epoch can be one CUDA graph; with older ones such graphs may hang."""
LOOP_FLAG = "--xla_gpu_enable_command_buffer=+WHILE"
UNKNOWN = re.compile(r"Unknown flags? in XLA_FLAGS: (.+)")
"""What XLA says before it ends the process."""
CUDA_LIBRARIES = ("libcudart.so", "libcublas.so", "libcudnn.so", "libnvJitLink.so", "libcusparse.so", "libcusolver.so",
                  "libcufft.so")  # fmt: skip
"""A folder of LD_LIBRARY_PATH with one of these brings another CUDA than JAX's own."""
DRIVER = "libcuda.so.1"


def loop_flags(cuda: int | None) -> tuple[str, ...]:
    """Return the flags with which a driver takes the loop over batches as one graph.

    Args:
        cuda: newest CUDA that the driver supports, 12080 for 12.8; None where that is not known.
    """
    return (LOOP_FLAG,) if cuda is not None and cuda >= LOOPS_IN_GRAPHS else ()


def without(flags: str, refused: Collection[str]) -> str:
    """Return flags without those that XLA refused."""
    return " ".join(flag for flag in flags.split() if flag not in refused)


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
