"""Compiles `epoch.c` for this very processor, at its first use, and trusts it only once it was tried.

Of the compilers on the path the first one whose library passes is used.

What was built lies in the user's cache under a hash of source, compiler, flags and processor, so that a home that
several machines share serves each its own. It is tried against NumPy in a process of its own: a wrong result or an
illegal instruction costs speed and nothing else.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import shutil
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

from engine.machine import child_process, json_file, system, tool_process
from engine.machine.child_process import ChildCommand
from engine.machine.ownership import is_ours_alone
from engine.machine.process_end import how_ended
from engine.machine.user_folders import cache_folder

SOURCE = Path(__file__).with_name("epoch.c")
HEADERS = (SOURCE.with_name("kernels.h"), SOURCE.with_name("vectors.h"))
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread")
"""`errno` of square roots, which nobody reads, would prevent vector instructions: half the speed."""
COMPILE_SECONDS, TRIAL_SECONDS = 120, 120
OWN_FAULTS = (signal.SIGILL, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV)
"""Signals by which a library ends its process through its own fault: it would again."""
SWITCH = "SVHN_TUI_NATIVE"
"""Set to `off`, nothing is built and JAX trains what this could."""


class Built(msgspec.Struct, frozen=True):
    """A library that may be trusted, or a sentence that says why there is none."""

    path: Path | None = None
    problem: str = ""
    advice: str = ""


class TrialRecord(msgspec.Struct, frozen=True):
    """The outcome of a library's trial, stored beside it; without a hash, of an attempt to compile it."""

    sha256: str
    problem: str = ""
    """Empty when it computed what NumPy does."""


NO_COMPILER = Built(
    None,
    f"No C compiler ({', '.join(COMPILERS[:-1])} or {COMPILERS[-1]}) is on the path",
    "With one, dense networks train about 1.5 to 2 times as fast on processors: `apt install gcc`, "
    "`dnf install gcc`, `module load gcc` or `xcode-select --install`.",
)

ADVICE = (
    "With gcc or clang and C's headers, such as those of `apt install gcc libc6-dev`, dense networks train about 1.5 "
    "to 2 times as fast on processors."
)


@cache
def library() -> Built:
    """Return the library for this processor; build and try it first if that was not done."""
    if absent := absence():
        return absent
    tried = []
    for compiler in _compilers():
        try:
            tried.append(build(compiler, (*FLAGS, tuned_for_this()), cache_folder("native")))
        except OSError as error:
            return Built(None, f"The native trainer cannot be built: {error.filename or 'a file'}: {error.strerror}")
        if tried[-1].path:
            return tried[-1]
    return tried[0]


def known() -> Built:
    """Return the same as far as it is recorded, without building anything; neither path nor problem if it is not."""
    if absent := absence():
        return absent
    records = []
    for compiler in _compilers():
        with contextlib.suppress(OSError):
            path = _path(compiler, (*FLAGS, tuned_for_this()), cache_folder("native"))
            records.append((path, json_file.read(path.with_suffix(".json"), TrialRecord)))
    outcomes = [_outcome(path, record) for path, record in records if record is not None]
    return next((built for built in outcomes if built.path), outcomes[0] if outcomes else Built())


def absence() -> Built | None:
    """Return why there can be no library here, as far as that is known without building one."""
    if os.environ.get(SWITCH, "") == "off":
        return Built(None, f"The native trainer is switched off ({SWITCH}=off)")
    return None if find_compiler() else NO_COMPILER


def find_compiler() -> str | None:
    """Return the first C compiler on the path."""
    return next(iter(_compilers()), None)


def _compilers() -> list[str]:
    """Return the C compilers on the path, each once though it has several names."""
    by_file: dict[Path, str] = {}
    for path in filter(None, map(shutil.which, COMPILERS)):
        by_file.setdefault(Path(path).resolve(), path)
    return list(by_file.values())


def build(compiler: str, flags: tuple[str, ...], folder: Path) -> Built:
    """Return what this compiler makes of the source, tried; processes that want it at once make it once.

    Raises:
        OSError: the folder cannot be written, or somebody else can write there.
    """
    if not is_ours_alone(folder):
        raise PermissionError(errno.EPERM, "others can write there", str(folder))
    path = _path(compiler, flags, folder)
    with _alone(path.with_suffix(".lock")):
        record = json_file.read(path.with_suffix(".json"), TrialRecord)
        if record is None or not path.exists() or record.sha256 != _hash(path):
            record = _built(compiler, flags, path)
            json_file.write(path.with_suffix(".json"), record)
    return _outcome(path, record)


def _built(compiler: str, flags: tuple[str, ...], path: Path) -> TrialRecord:
    """Compile and try the library; without a hash in the record, it is to be compiled again the next time."""
    if problem := _compile(compiler, flags, path):
        return TrialRecord("", problem)
    problem, is_final = _tried(path)
    return TrialRecord(_hash(path) if is_final else "", problem)


def _outcome(path: Path, record: TrialRecord) -> Built:
    return Built(None, record.problem, ADVICE) if record.problem else Built(path)


def _path(compiler: str, flags: tuple[str, ...], folder: Path) -> Path:
    """Return where the library of this source, compiler and processor is."""
    version = tool_process.run(_native_tool(compiler, "--version"), seconds=COMPILE_SECONDS)
    parts = "\0".join((source_hash(), version.stdout.decode(errors="replace"), repr(flags), processor()))
    return folder / f"epoch-{hashlib.sha256(parts.encode()).hexdigest()[:20]}.so"


def source_hash() -> str:
    """Return a hash of everything that is compiled."""
    return " ".join(map(_hash, (SOURCE, *HEADERS)))


def processor() -> str:
    """Describe the processor: what differs between two must not share a library."""
    return "\n".join((platform.system(), platform.machine(), system.processor()))


def tuned_for_this() -> str:
    """Return the compiler's option for the very processor that it runs on."""
    return "-march=native" if platform.machine().lower() in ("x86_64", "amd64") else "-mcpu=native"


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Exclude other processes of this user; without locks in the file system one may build a second time."""
    with lock.open("ab") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(compiler: str, flags: tuple[str, ...], path: Path) -> str:
    """Write the library; return why it could not be written."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.so")
    try:
        command = _native_tool(compiler, *flags, str(SOURCE), "-o", str(temporary), "-lm")
        done = tool_process.run(command, seconds=COMPILE_SECONDS)
        if done.status or not temporary.exists():
            lines = (line for line in done.stderr.splitlines() if "error" in line)
            reason = next(lines, done.stderr[-200:]).strip()
            return f"{compiler} could not compile the native trainer: {reason or f'exit code {done.status}'}"
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return ""


def _tried(path: Path) -> tuple[str, bool]:
    """Try the library in a process of its own; return what is wrong with it, and whether that would be so again."""
    done = tool_process.run(child_process.tool("engine.training.native.trial", str(path)), seconds=TRIAL_SECONDS)
    if done.status == 0:
        return "", True
    if done.status < 0:
        return f"The native trainer {how_ended(done.status)} when it was tried", -done.status in OWN_FAULTS
    reason = done.last_line[:300] or "no reason was given"
    return f"The native trainer did not pass its trial: {reason}", done.status == 3


def _native_tool(*argv: str) -> ChildCommand:
    """Describe a program of the system, which is to speak English."""
    return ChildCommand(argv, {**child_process.program_environment(os.environ), "LC_ALL": "C"})


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    built = library()
    print(f"Native trainer: {built.path or built.problem + '.'} {built.advice}".rstrip())
