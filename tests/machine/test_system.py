"""Systems that lack what Linux has, simulated by taking it away: macOS pins no process, and knows peers otherwise."""

import importlib.metadata
import math
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.host import socket_path
from engine.machine import devices, system
from svhn_tui.cli import main
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.customised import customise

OTHER_SYSTEM = """
import os, socket
for module, name in ((os, "sched_getaffinity"), (os, "sched_setaffinity"), (socket, "SO_PEERCRED")):
    delattr(module, name)
import io, pathlib
is_linux_alone = lambda path: str(path).startswith(("/proc/", "/sys/"))
def without(open_it):
    def opened(path, *arguments, **named):
        if is_linux_alone(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return open_it(path, *arguments, **named)
    return opened
pathlib.Path.read_text = without(pathlib.Path.read_text)
open("WITNESS", "a").write("x")
"""


def test_a_host_trains_where_linux_is_not(demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    witness = tmp_path / "witness"
    customise(monkeypatch, tmp_path / "python", OTHER_SYSTEM.replace("WITNESS", str(witness)))
    with Bridge(tmp_path / "w", **worker()) as bridge:
        data = bridge.open(demo_folder)
        configuration = Configuration(Network(), Training(epochs=2))
        bridge.send(p.Submit(sweep=Sweep("elsewhere", data.fingerprint, (configuration,), (0, 1))))
        bridge.until(lambda state, event: len(state.results) == 2)
        bridge.end()
    assert len(witness.read_text()) >= 3, "bridge, host and worker ran without"


def test_a_package_that_was_copied_and_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert system.version() == "not installed"


def test_cores_and_counters_have_answers_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(system, "cpu_quota", lambda: math.inf)
    assert system.usable_cores() == tuple(sorted(os.sched_getaffinity(0)))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sched_setaffinity")
    monkeypatch.setattr(system, "BOOT_ID", tmp_path / "no")
    monkeypatch.setattr(system, "MEMORY_EVENTS", tmp_path / "no")
    assert devices.machine().cores == system.usable_cores() == tuple(range(os.cpu_count() or 1))
    system.claim_cores((0,))
    assert (system.boot_id(), system.oom_kills()) == ("", 0)


def test_the_peer_is_known_by_either_kernels_word_or_by_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ours, _theirs = socket.socketpair(socket.AF_UNIX)
    assert system.peer_user(ours) == os.geteuid()
    monkeypatch.delattr(socket, "SO_PEERCRED")
    assert system.peer_user(ours) is None, "Linux has no LOCAL_PEERCRED either"
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    assert socket_path.is_ours(ours, str(private / "x.sock"))
    private.chmod(0o755)
    assert not socket_path.is_ours(ours, str(private / "x.sock"))

    class Mac:
        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            assert (level, option, size) == (0, 1, 76)
            return system.XUCRED.pack(0, 501, 1, 20, *[0] * 15)

    assert system.peer_user(Mac()) == 501


@pytest.mark.parametrize("name", ["sched_getaffinity", "sched_setaffinity", "SO_PEERCRED", "/proc/", "LOCAL_PEERCRED"])
def test_one_module_knows_the_systems(name: str):
    root = Path(system.__file__).parents[2]
    sources = [path for folder in ("engine", "svhn_tui") for path in (root / folder).rglob("*.py")]
    assert [path.name for path in sources if name in path.read_text()] == ["system.py"]


def test_windows_gets_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="needs Linux or macOS; on Windows it runs in WSL"):
        main.main()


def test_the_command_line_can_be_imported_without_what_windows_lacks():
    code = textwrap.dedent("""
        import sys
        for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty"):
            sys.modules[name] = None
        from svhn_tui.cli.main import main
        sys.platform = "win32"
        main()
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n"), "runs in WSL" in done.stderr) == (1, 1, True), done.stderr


def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, mounts: str, **files: str) -> None:
    """Make up the cgroups of this process; `files` are written below the folder that stands for /sys/fs/cgroup."""
    root = tmp_path / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "groups").write_text(groups)
    (tmp_path / "mounts").write_text(mounts.replace("ROOT", str(root)))
    monkeypatch.setattr(system, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(system, "MOUNTS", tmp_path / "mounts")


V2 = "30 25 0:26 / ROOT rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = """31 25 0:27 /docker/abc ROOT/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 /docker/abc ROOT/memory ro - cgroup cgroup rw,memory
"""
MEMORY_V1 = {"memory/memory.limit_in_bytes": "2000000000\n"}
SLICES = {
    "user.slice/cpu.max": "250000 100000\n", "user.slice/job/cpu.max": "max 100000\n",
    "user.slice/memory.max": "3000000000\n", "user.slice/job/memory.max": "max\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "quota", "memory"),
    [
        ("0::/\n", V2, {"cpu.max": "400000 100000\n", "memory.max": "4000000000\n"}, 4.0, 4_000_000_000),
        ("0::/\n", V2, {"cpu.max": "max 100000\n"}, math.inf, None),
        ("0::/user.slice/job\n", V2, SLICES, 2.5, 3_000_000_000),
        (
            "2:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n", V1,
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n", **MEMORY_V1},
            0.5, 2_000_000_000,
        ),
        (
            "1:cpu,cpuacct:/elsewhere\n", V1,
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, math.inf, None,
        ),
        ("nonsense\n0::/\n", "nonsense\n30 25 0:26 / ROOT rw -\n" + V2, {"cpu.max": "?\n"}, math.inf, None),
    ],
    ids=["docker", "no limit", "the slice around it", "docker, version 1", "version 1, no limit", "nonsense"],
)  # fmt: skip
def test_a_container_has_the_processor_time_and_memory_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, mounts: str, files: dict[str, str], quota: float,
    memory: int | None,
):  # fmt: skip
    container(tmp_path, monkeypatch, groups, mounts, **files)
    assert system.cpu_quota() == quota
    assert system.usable_memory() == (memory or psutil.virtual_memory().total)
    assert devices.machine().memory == system.usable_memory()


def test_a_container_trains_on_as_many_cores_as_it_is_given_time_and_not_all_on_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    container(tmp_path, monkeypatch, "0::/\n", V2, **{"cpu.max": "200000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    chosen = set()
    for number in range(40):
        monkeypatch.setattr(system, "host_name", lambda number=number: f"pod-{number}")
        first, second = system.usable_cores()
        assert second == first + 1
        chosen.add(first)
    assert len(chosen) > 10, "neighbours keep to other cores"
    for quota, count in (("150000", 2), ("10000", 1), ("99900000", 64)):
        (tmp_path / "cgroup" / "cpu.max").write_text(f"{quota} 100000\n")
        assert len(system.usable_cores()) == count
