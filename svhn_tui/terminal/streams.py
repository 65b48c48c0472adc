"""stdin, stdout and stderr, which may be closed, full, in another encoding, or without a reader."""

import os
import select
import sys
from contextlib import suppress
from typing import TextIO


def prepare() -> None:
    """Open the streams that are closed, so that no file gets their descriptors, and allow any text to be written."""
    names = ("stdin", "stdout", "stderr")
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < len(names):  # the lowest number that is free
        os.set_inheritable(descriptor, True)
        setattr(sys, names[descriptor], os.fdopen(descriptor, "r" if descriptor == 0 else "w", encoding="utf-8"))
    os.close(descriptor)
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="replace")


def is_utf8(stream: TextIO) -> bool:
    """Say whether a stream is encoded in UTF-8, as drawing needs."""
    return stream.encoding.lower().replace("-", "") == "utf8"


def flush() -> None:
    """Flush the buffered output.

    Raises:
        OSError: it cannot be written.
    """
    sys.stdout.flush()


def is_read() -> bool:
    """Say whether stdout, if it is a pipe, still has a reader."""
    poll = select.poll()
    poll.register(1, 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def discard() -> None:
    """Drop the output that could not be written to stdout; Python would try again at its end, and report an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    with suppress(OSError, ValueError):
        sys.stdout.flush()


def write_error(line: str) -> None:
    """Write a line to stderr; a failure cannot be reported."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
