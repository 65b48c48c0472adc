"""What differs between Linux and macOS: cores, users at the other end of a socket, boots, the kernel's counters."""

import contextlib
import importlib.metadata
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

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
OCTAL = re.compile(r"\\([0-7]{3})")
"""How a space, a tab or a backslash of a path is written there."""
NETWORK_KINDS = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs",
    "lustre", "nfs", "nfs4", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
))  # fmt: skip
"""File systems that several machines may have at once. What one of them compiled may not run on another's processor."""


def version(package: str = "svhn-tui") -> str:
    """Return a package's version; one that was copied and not installed may tell it itself, ours then has none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "not installed"))


def unsupported() -> str:
    """Return a sentence where the program cannot run at all; nothing on Linux and macOS."""
    if sys.platform != "win32":
        return ""
    return "svhn-tui needs Linux or macOS; on Windows it runs in WSL (`wsl --install`), or there with `--host`."


def usable_cores() -> tuple[int, ...]:
    """Return the cores that this process may run on; all of them where the system pins no process."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


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
    """Keep the calling thread and those that it starts to these cores, if any are given and the system can."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def peer_user(connection: socket.socket) -> int | None:
    """Return the user id of the process at the other end of a unix socket, None where the system does not tell."""
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[1])
    with contextlib.suppress(OSError, struct.error):
        credentials = connection.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED.size)
        return int(XUCRED.unpack(credentials)[1])
    return None


def boot_id() -> str:
    """Return what names this start of the machine; nothing where the system does not tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def host_name() -> str:
    """Return the machine's name, as other machines of its network know it."""
    return socket.gethostname()


def oom_kills() -> int:
    """Count the processes that the kernel killed for memory since the machine started; 0 where it does not tell."""
    with contextlib.suppress(OSError):
        for line in MEMORY_EVENTS.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def peak_bytes(pid: int) -> int:
    """Return the most resident memory that a process ever had; where the system does not tell, what it has now."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def descendants(pid: int) -> frozenset[int]:
    """Return the processes that a process started, and those that these did; none of one that is gone."""
    import psutil

    try:
        return frozenset(child.pid for child in psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return frozenset()


def pids_are_the_kernels() -> bool:
    """Say whether process ids mean here what they mean to drivers: not in containers, nor on WSL."""
    try:
        return str(PID_NAMESPACE.readlink()) == FIRST_PID_NAMESPACE
    except OSError:
        return False


def name_of(pid: int) -> str | None:
    """Return the name of a process, as far as the system tells; None where there is none of this number."""
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def owner_of(pid: int) -> str:
    """Return the name of the user who runs a process, or their number."""
    import pwd  # not on Windows, where the command line has to be importable

    try:
        uid = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return "another user"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def is_on_network(path: Path, mounts: Path = MOUNTS) -> bool:
    """Say whether a folder is on a file system that other machines have too; unknown counts as no."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
        target = path.resolve()
    except OSError:
        return False
    kind, longest = "", -1
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split()
        point = Path(OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])) if len(fields) > 4 else None
        if point is not None and target.is_relative_to(point) and len(point.parts) >= longest:
            kind, longest = right.partition(" ")[0], len(point.parts)
    return kind in NETWORK_KINDS
