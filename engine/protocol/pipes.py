"""The ends of a worker's pipes: messages out, lines in."""

import threading
from typing import IO

from engine.protocol.codec import encode
from engine.protocol.message import Message


class MessageWriter:
    """Writes messages as lines, from any thread, each line whole."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def __call__(self, message: Message) -> None:
        """Write a message; once the pipe's reader is gone it is dropped, since the journal holds the same."""
        with self._lock:
            try:
                self._file.write(encode(message))
                self._file.flush()
            except (BrokenPipeError, ValueError):
                return


def open_stdin() -> IO[bytes]:
    """Open stdin for a reading thread; with `sys.stdin` Python would abort where it exits before the thread ends."""
    return open(0, "rb", closefd=False)
