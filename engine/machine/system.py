"""What differs between Linux and macOS: cores, users at the other end of a socket, boots, the kernel's counters."""

import contextlib
import math
import os
import re
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""The longest path of a unix socket: the kernel's field has 108 bytes, on macOS and the BSDs 104, one for the end."""
SOL_LOCAL, LOCAL_PEERCRED = 0, 1
"""Of <sys/un.h> on macOS and the BSDs; Python has no names for them."""
XUCRED = struct.Struct("IIh16I")
"""Version, user, number of groups, groups: <sys/ucred.h> on macOS and the BSDs."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")
FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""Of Linux itself, PROC_PID_INIT_INO; a container has another."""
CPU_INFO = Path("/proc/cpuinfo")
CPU_FIELDS = ("model name", "flags", "features", "cpu implementer", "cpu architecture", "cpu variant", "cpu part")
MEMORY_EVENTS = Path("/proc/vmstat")
MOUNTS = Path("/proc/self/mountinfo")
CGROUPS = Path("/proc/self/cgroup")
OCTAL = re.compile(r"\\([0-7]{3})")
"""How a space, a tab or a backslash of a path is written there."""
NETWORK_KINDS = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs",
    "lustre", "nfs", "nfs4", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
))  # fmt: skip
"""File systems that several machines may have at once. What one of them compiled may not run on another's processor."""


def version(package: str = "svhn-tui") -> str:
    """Return a package's version; of one that is not installed, its `__version__`, or `not installed`."""
    import importlib.metadata  # it loads what reads zip files and mail, and most processes want no version

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "not installed"))


def unsupported() -> str:
    """Return a sentence where the program cannot run at all; nothing on Linux and macOS."""
    if sys.platform != "win32":
        return ""
    return "svhn-tui needs Linux or macOS; on Windows it runs in WSL (`wsl --install`), or there with `--host`."


def has_library(name: str) -> bool:
    """Say whether the system finds a native library."""
    import ctypes  # a screen never asks

    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def usable_cores() -> tuple[int, ...]:
    """Return the cores that this process may run on, at most as many as its container's quota of processor time.

    Containers that share a machine see all its cores, so each container and each user begins at another core.
    """
    if not hasattr(os, "sched_getaffinity"):
        return tuple(range(os.cpu_count() or 1))
    cores = tuple(sorted(os.sched_getaffinity(0)))
    count = max(1, round(min(len(cores), cpu_quota())))
    first = zlib.crc32(f"{host_name()} {os.getuid()}".encode()) % (len(cores) // count) * count
    return cores[first : first + count]


def cpu_quota() -> float:
    """Return how many cores' time the cgroups of this process let it use; infinity where they set no limit."""
    quotas = [math.inf]
    for group in _cgroups("cpu"):
        with contextlib.suppress(OSError, ValueError):  # it is of the other version, or sets no limit
            quota, period = map(int, (group / "cpu.max").read_text().split())
            quotas.append(quota / period)
        with contextlib.suppress(OSError, ValueError):
            quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
            quotas.append(quota / period if quota > 0 else math.inf)
    return min(quotas)


def usable_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its container's limit."""
    import psutil

    limits = [int(psutil.virtual_memory().total)]
    for group in _cgroups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                limits.append(int((group / name).read_text()))
    return min(limits)


def _cgroups(controller: str) -> Iterator[Path]:
    """Yield the folders of the cgroups that limit this process, the innermost first, of either version."""
    try:
        lines = [line.split(":", 2) for line in CGROUPS.read_text().splitlines()]
        mounts = [mount for mount in _mounts(MOUNTS) if mount.kind in ("cgroup", "cgroup2")]
    except OSError:
        return
    for _, controllers, path in (line for line in lines if len(line) == 3):
        for mount in mounts:
            is_its = controller in controllers.split(",") and controller in mount.options.split(",")
            if not is_its and (controllers or mount.kind != "cgroup2"):
                continue
            inside = Path(path).is_relative_to(mount.root)  # else seen from a container, which is mounted as a whole
            group = mount.point / Path(path).relative_to(mount.root) if inside else mount.point
            yield group
            yield from (parent for parent in group.parents if parent.is_relative_to(mount.point))


def processor() -> str:
    """Describe the processor: a library that is built for one must not be loaded on another; empty if unknown."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "machdep.cpu.brand_string", "hw.optional"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout
        return ""
    with contextlib.suppress(OSError):
        lines = CPU_INFO.read_text().splitlines()
        return "\n".join(sorted({line for line in lines if line.partition(":")[0].strip().lower() in CPU_FIELDS}))
    return ""


def claim_cores(cores: tuple[int, ...]) -> None:
    """Restrict the calling thread, and those that it starts, to these cores, if any are given and the system can."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def peer_user(connection: socket.socket) -> int | None:
    """Return the user id of the process at the other end of a unix socket, None where the system does not report it."""
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[1])
    with contextlib.suppress(OSError, struct.error):
        credentials = connection.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED.size)
        return int(XUCRED.unpack(credentials)[1])
    return None


def boot_id() -> str:
    """Return the id of the machine's current boot; empty where the system does not report it."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def host_name() -> str:
    """Return the machine's name, as other machines of its network know it."""
    return socket.gethostname()


def oom_kills() -> int:
    """Count the processes that the kernel killed for memory since the machine started; 0 where it keeps no count."""
    with contextlib.suppress(OSError):
        for line in MEMORY_EVENTS.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def peak_bytes(pid: int) -> int:
    """Return the peak of a process's resident memory in bytes; the current size where the system keeps no peak."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def descendants(pid: int) -> frozenset[int]:
    """Return the children of a process and their children, and so on; empty where the process has ended."""
    import psutil

    try:
        return frozenset(child.pid for child in psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return frozenset()


def ancestors(pid: int) -> frozenset[int]:
    """Return the parent of a process, its parent, and so on; empty where the process has ended."""
    import psutil

    try:
        return frozenset(parent.pid for parent in psutil.Process(pid).parents())
    except psutil.Error:
        return frozenset()


def pids_are_the_kernels() -> bool:
    """Say whether process ids are those of the kernel, as drivers report them: not in containers, nor on WSL."""
    try:
        return str(PID_NAMESPACE.readlink()) == FIRST_PID_NAMESPACE
    except OSError:
        return False


def name_of(pid: int) -> str | None:
    """Return the name of a process, empty where the system does not report it; None where there is no such process.

    Where /proc is mounted with `hidepid`, as on shared machines, it has no entries for the processes of other users.
    """
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return "" if _exists(pid) else None
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    """Say whether the kernel knows a process, which no signal is sent to."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # it is another user's
    except (ProcessLookupError, OverflowError):
        return False
    return True


def owner_of(pid: int) -> str:
    """Return the name of the user who runs a process, or `another user` where the system does not report one."""
    try:
        return user_name(Path(f"/proc/{pid}").stat().st_uid)
    except OSError:
        return "another user"


def user_name(uid: int) -> str:
    """Return a user's name, or `user UID` where there is none."""
    import pwd  # not on Windows, where the command line has to be importable

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def is_on_network(path: Path, mounts: Path = MOUNTS) -> bool:
    """Say whether a folder is on a file system that other machines may share; unknown counts as no."""
    try:
        target, known = path.resolve(), tuple(_mounts(mounts))
    except OSError:
        return False
    kind, longest = "", -1
    for mount in known:
        if target.is_relative_to(mount.point) and len(mount.point.parts) >= longest:
            kind, longest = mount.kind, len(mount.point.parts)
    return kind in NETWORK_KINDS


class Mount(NamedTuple):
    """A mounted file system."""

    root: str
    """The folder inside it that is mounted."""
    point: Path
    kind: str
    options: str


def _mounts(file: Path) -> Iterator[Mount]:
    """Yield the mounted file systems.

    Raises:
        OSError: the kernel's list cannot be read.
    """
    for line in file.read_text(errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        fields = [OCTAL.sub(lambda match: chr(int(match[1], 8)), field) for field in left.split()]
        if len(fields) > 4:
            kind, *others = right.split() or [""]
            yield Mount(fields[3], Path(fields[4]), kind, others[-1] if others else "")
