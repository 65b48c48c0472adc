"""Sentences for errors of the machine, such as a full disk: neither the file nor the program is at fault. Pure."""

import errno
import os

MEANINGS = {
    errno.ENOSPC: "no room is left on the disk; make some and try again",
    errno.EDQUOT: "your quota of the disk is used up; make room and try again",
    errno.EFBIG: "no file may become that large here; raise the limit with `ulimit -f`",
    errno.EROFS: "the file system is read-only; name another place",
    errno.EACCES: "permission denied; look at its permissions, or name another place",
    errno.EPERM: "permission denied; look at its permissions, or name another place",
    errno.EIO: "the disk, or the network drive, fails (input/output error); see the system's log",
    errno.ESTALE: "the network drive was lost; mount it again",
    errno.ENOTCONN: "the network drive was lost; mount it again",
    errno.EMFILE: "too many files are open in one process; raise the limit with `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine; end other programs",
    errno.ENOMEM: "this machine has no memory left; end other programs",
    errno.EAGAIN: "the machine is too busy for that (too many processes, or a reader that is too slow); try again",
}
LASTING = {errno.EFBIG}
"""Errors that last as long as the process, except for `prlimit`: retries have a time limit."""
NO_TEMPORARY = "No usable temporary directory"
"""Start of the message of `tempfile` where no folder can be written to."""


def cause_of(error: BaseException | None) -> str:
    """Return what the machine lacks or refuses, without a full stop; empty for an error of another kind."""
    while error is not None:
        if isinstance(error, MemoryError):
            return MEANINGS[errno.ENOMEM]
        if isinstance(error, OSError) and (error.strerror or "").startswith(NO_TEMPORARY):
            return "no temporary folder can be written to; make room, or set TMPDIR to a folder that has some"
        if isinstance(error, OSError) and error.errno in MEANINGS:
            return MEANINGS[error.errno]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return ""


def sentence_of(error: BaseException, path: object = "") -> str:
    """Return a sentence on what the machine lacks or refuses, and where; empty for an error of another kind.

    Args:
        error: the exception; its causes count too.
        path: of the file that was read or written, used where the error itself names none.
    """
    if not (cause := cause_of(error)):
        return ""
    name = getattr(error, "filename", None) or path
    where = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else ""
    return f"{where}: {cause}." if where else f"{cause[0].upper()}{cause[1:]}."
