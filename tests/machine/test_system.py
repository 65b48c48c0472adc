"""Systems that lack what Linux has, simulated by taking it away: macOS pins no process, and knows peers otherwise."""

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

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


def test_cores_and_counters_have_answers_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
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
