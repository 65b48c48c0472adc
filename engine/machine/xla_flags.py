"""The flags of JAX's compiler (XLA) for a driver, and a library path without other versions of CUDA. Pure.

The user's own XLA_FLAGS never reach training: what is trained follows from its spec alone.
"""

import re
from collections.abc import Callable, Collection, Mapping

LOOPS_IN_GRAPHS = 12080
"""The driver's CUDA version from which a whole epoch can be one CUDA graph; with older ones such graphs may hang."""
LOOP_FLAG = "--xla_gpu_enable_command_buffer=+WHILE"
DETERMINISTIC_FLAG = "--xla_gpu_deterministic_ops=true"
"""Only kernels whose sums always have the same order, and none that is chosen by timing."""
DETERMINISTIC_VARIABLE = "SVHN_TUI_DETERMINISTIC"
"""1 adds that flag. It is not the default until its cost has been measured on a GPU (`make gpu`)."""
UNKNOWN = re.compile(r"Unknown flags? in XLA_FLAGS: (.+)")
"""XLA's message before it ends the process."""
CUDA_LIBRARIES = ("libcudart.so", "libcublas.so", "libcudnn.so", "libnvJitLink.so", "libcusparse.so", "libcusolver.so",
                  "libcufft.so")  # fmt: skip
"""A folder of LD_LIBRARY_PATH with one of these holds another CUDA than JAX's own."""
DRIVER = "libcuda.so.1"


def flags_for(cuda: int | None, environment: Mapping[str, str], *, has_hung: bool = False) -> str:
    """Return XLA_FLAGS for a worker on a GPU.

    Args:
        cuda: newest CUDA that the driver supports, 12080 for 12.8; None where that is not known.
        environment: the user's, which may ask for deterministic kernels.
        has_hung: an epoch that was one graph hung with this driver.
    """
    loop = () if has_hung else loop_flags(cuda)
    deterministic = (DETERMINISTIC_FLAG,) if environment.get(DETERMINISTIC_VARIABLE) == "1" else ()
    return " ".join((*loop, *deterministic))


def loop_flags(cuda: int | None) -> tuple[str, ...]:
    """Return the flags with which a driver takes the loop over batches as one graph.

    Args:
        cuda: newest CUDA that the driver supports, 12080 for 12.8; None where that is not known.
    """
    return (LOOP_FLAG,) if cuda is not None and cuda >= LOOPS_IN_GRAPHS else ()


def without(flags: str, refused: Collection[str]) -> str:
    """Return flags without those that XLA refused."""
    return " ".join(flag for flag in flags.split() if flag not in refused)


def unknown_flags(stderr: str) -> tuple[str, ...]:
    """Return the flags that XLA refused, according to its stderr."""
    match = UNKNOWN.search(stderr)
    return tuple(match[1].split()) if match else ()


def without_other_cuda(path: str, names_in: Callable[[str], Collection[str]]) -> str:
    """Return LD_LIBRARY_PATH without the folders that hold another CUDA, except those that hold the driver.

    Args:
        path: the variable's value.
        names_in: returns the names of the files in a folder.
    """
    return ":".join(folder for folder in path.split(":") if folder and not _has_other_cuda(names_in(folder)))


def _has_other_cuda(names: Collection[str]) -> bool:
    return DRIVER not in names and any(name.startswith(CUDA_LIBRARIES) for name in names)
