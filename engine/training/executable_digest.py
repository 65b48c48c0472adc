"""A hash of a compiled program: of what it computes and how, and of nothing else. Pure."""

import hashlib
import re

METADATA = re.compile(r',? ?metadata=\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\}')
"""The metadata of an instruction: the line of Python that it comes from."""
TABLES = re.compile(r"^(?:FileNames|FunctionNames|FileLocations|StackFrames)\n(?:\d.*\n)*\n*", re.MULTILINE)
"""Files, functions and lines of Python; a program that comes from JAX's cache has fewer of them."""


def digest_of(text: str) -> str:
    """Return the same hash for the same executable, wherever it was compiled and whether it was cached.

    Args:
        text: the compiled program as XLA writes it; the kernels that were chosen by timing are named in it.
    """
    return hashlib.sha256(METADATA.sub("", TABLES.sub("", text)).encode()).hexdigest()[:16]
