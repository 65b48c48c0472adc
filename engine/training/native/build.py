"""Compiles `epoch.c` for this very processor, at its first use, and trusts it only once it was tried.

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
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

from engine.machine import child_process, system
from engine.machine.child_process import ChildCommand
from engine.machine.files import write_atomically
from engine.machine.ownership import is_ours_alone
from engine.machine.user_folders import cache_folder

SOURCE = Path(__file__).with_name("epoch.c")
HEADER = SOURCE.with_name("vectors.h")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread")
"""`errno` of square roots, which nobody reads, would prevent vector instructions: half the speed."""
COMPILE_SECONDS, TRIAL_SECONDS = 120, 120
SWITCH = "SVHN_TUI_NATIVE"
"""Set to `off`, nothing is built and JAX trains what this could."""


class Built(msgspec.Struct, frozen=True):
    """A library that may be trusted, or a sentence that says why there is none."""

    path: Path | None = None
    problem: str = ""
    advice: str = ""


class TrialRecord(msgspec.Struct, frozen=True):
    """The outcome of a library's trial, stored beside it."""

    sha256: str
    problem: str = ""
    """Empty when it computed what NumPy does."""


NO_COMPILER = Built(
    None,
    f"No C compiler ({', '.join(COMPILERS[:-1])} or {COMPILERS[-1]}) is on the path",
    "With one, dense networks train about 1.5 to 2 times as fast on processors: `apt install gcc`, "
    "`dnf install gcc`, `module load gcc` or `xcode-select --install`.",
)


@cache
def library() -> Built:
    """Return the library for this processor; build and try it first if that was not done."""
    compiler = find_compiler()
    if compiler is None or absence():
        return absence() or NO_COMPILER
    try:
        return build(compiler, (*FLAGS, _tuned_for_this()), cache_folder("native"))
    except OSError as error:
        return Built(None, f"The native trainer cannot be built: {error.filename or 'a file'}: {error.strerror}")


def absence() -> Built | None:
    """Return why there can be no library here, as far as that is known without building one."""
    if os.environ.get(SWITCH, "") == "off":
        return Built(None, f"The native trainer is switched off ({SWITCH}=off)")
    return None if find_compiler() else NO_COMPILER


def find_compiler() -> str | None:
    """Return the first C compiler on the path."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def build(compiler: str, flags: tuple[str, ...], folder: Path) -> Built:
    """Return what this compiler makes of the source, tried; processes that want it at once make it once.

    Raises:
        OSError: the folder cannot be written, or somebody else can write there.
    """
    if not is_ours_alone(folder):
        raise PermissionError(errno.EPERM, "others can write there", str(folder))
    version = _run(_native_tool(compiler, "--version"), COMPILE_SECONDS).stdout
    parts = "\0".join((source_hash(), version, repr(flags), processor()))
    key = hashlib.sha256(parts.encode()).hexdigest()[:20]
    path, verdict_path = folder / f"epoch-{key}.so", folder / f"epoch-{key}.json"
    with _alone(folder / f"epoch-{key}.lock"):
        verdict = _verdict(path, verdict_path)
        if verdict is None:
            if problem := _compile(compiler, flags, path):
                return Built(None, problem)
            problem, is_final = _tried(path)
            if not is_final:
                return Built(None, problem)
            verdict = TrialRecord(_hash(path), problem)
            write_atomically(verdict_path, msgspec.json.encode(verdict))
    return Built(None, verdict.problem) if verdict.problem else Built(path)


def source_hash() -> str:
    """Return a hash of everything that is compiled."""
    return " ".join(map(_hash, (SOURCE, HEADER)))


def processor() -> str:
    """Describe the processor: what differs between two must not share a library."""
    return "\n".join((platform.system(), platform.machine(), system.processor()))


def _tuned_for_this() -> str:
    return "-march=native" if platform.machine().lower() in ("x86_64", "amd64") else "-mcpu=native"


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Exclude other processes of this user; without locks in the file system one may build a second time."""
    with lock.open("ab") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _verdict(path: Path, verdict_path: Path) -> TrialRecord | None:
    """Return the recorded outcome of the trial of this very file."""
    try:
        verdict = msgspec.json.decode(verdict_path.read_bytes(), type=TrialRecord)
        return verdict if verdict.sha256 == _hash(path) else None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _compile(compiler: str, flags: tuple[str, ...], path: Path) -> str:
    """Write the library; return why it could not be written."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.so")
    try:
        done = _run(_native_tool(compiler, *flags, str(SOURCE), "-o", str(temporary), "-lm"), COMPILE_SECONDS)
        if done.returncode or not temporary.exists():
            complaint = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[-200:]).strip()
            return f"{compiler} could not compile the native trainer: {complaint or f'exit code {done.returncode}'}"
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return ""


def _tried(path: Path) -> tuple[str, bool]:
    """Try the library in a process of its own; return what is wrong with it, and whether that would be so again."""
    done = _run(child_process.tool("engine.training.native.trial", str(path)), TRIAL_SECONDS)
    if done.returncode == 0:
        return "", True
    if done.returncode < 0:
        text = f"was ended by signal {-done.returncode}"
        return f"The native trainer {text} when it was tried", -done.returncode in (4, 7, 8, 11, 6)  # by its own fault
    complaint = (done.stderr.strip().splitlines() or ["no reason was given"])[-1][:300]
    return f"The native trainer did not pass its trial: {complaint}", done.returncode == 3


def _native_tool(*argv: str) -> ChildCommand:
    """Describe a program of the system, which is to speak English."""
    return ChildCommand(argv, {**child_process.program_environment(os.environ), "LC_ALL": "C"})


def _run(command: ChildCommand, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a process to its end; what it is too slow for has exit code 124."""
    try:
        return subprocess.run(
            command.argv, env=command.environment, cwd=child_process.FOLDER, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command.argv, 124, "", f"it took more than {seconds:.0f} s")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    found = library()
    print(f"Native trainer: {found.path or found.problem + '.'} {found.advice}".rstrip())
