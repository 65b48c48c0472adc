"""On a shared machine: nobody else reads, connects or finds a port, and no log tells what is nobody's business."""

import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from engine.host.socket_path import socket_path
from tests.cli.test_program import PROGRAM, Terminal
from tests.host.test_engine import sweep_of
from tests.host.test_stages import worker
from tests.support.bridge import Bridge, worker_pids
from tests.support.paced_worker import PACED

NOBODY = 65_534
SECRET = "hunter2-never-in-a-log"


@pytest.fixture
def careless() -> Iterator[None]:
    """A user whose umask lets everybody read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(*roots: Path) -> list[Path]:
    paths = [path for root in roots for path in (root, *root.rglob("*"))]
    return [path for path in paths if path.lstat().st_mode & 0o077 and not path.is_symlink()]


@pytest.mark.usefixtures("careless")
def test_while_it_trains_and_after_all_is_the_users_alone(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    roots = {name: tmp_path / name for name in ("workspace", "cache", "config", "demo", "out")}
    for variable, name in (("XDG_CACHE_HOME", "cache"), ("XDG_CONFIG_HOME", "config")):
        monkeypatch.setenv(variable, str(roots[name]))
    monkeypatch.setenv("SVHN_TUI_SECRET", SECRET)
    for name, value in PACED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SVHN_TUI_TEST_PACE", "0.1")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    workspace = roots["workspace"]
    with Terminal(workspace, 80, 24) as terminal, Bridge(workspace) as bridge:
        bridge.send(p.Submit(sweep=sweep_of(bridge.open(demo_folder), epochs=100)))
        bridge.until_kind(p.EpochEnded)
        terminal.until(lambda text: "Q11" in text and "training" in text)
        ours = [terminal.process.pid, bridge.process.pid, bridge.events[0].host_pid, *worker_pids(bridge.state)]
        assert len(ours) >= 4
        processes = [each for pid in ours for each in (psutil.Process(pid), *psutil.Process(pid).children(True))]
        assert [each.net_connections(kind="inet") for each in processes if each.net_connections(kind="inet")] == []
        listening = socket_path(workspace)
        assert stat.S_ISSOCK(listening.stat().st_mode)
        assert open_to_others(listening.parent, workspace, roots["cache"]) == []
        bridge.until(lambda state, event: len(state.results) == 1)
        terminal.press("T")  # another theme, which is remembered
        terminal.until(lambda text: (roots["config"] / "svhn-tui" / "settings.json").exists())
        terminal.press("q")
        assert terminal.ended() == 0
        for wish in (["export", str(roots["out"])], ["pack", str(tmp_path / "packed.zip")]):
            subprocess.run([*PROGRAM, *wish, "--workspace", str(workspace)], capture_output=True, check=False)
        subprocess.run([*PROGRAM, "data", "demo", str(roots["demo"]), "--train", "50", "--test", "20"],
                       capture_output=True, check=True)  # fmt: skip
        bridge.end()
    assert len(list(roots["cache"].rglob("*"))) > 2, "the compile cache is there"
    assert open_to_others(*roots.values(), tmp_path / "packed.zip") == []
    logs = [path for root in roots.values() for path in root.rglob("*") if path.is_file()]
    assert {"host.log", "engine.log"} <= {path.name for path in logs}
    assert [path for path in logs if SECRET.encode() in path.read_bytes()] == []


def as_another_user(address: str) -> bytes:
    """Connect as nobody, ask the host to end, and return what it said."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"?"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(address)
                connection.sendall(p.encode(p.Shutdown()))
                answer = connection.recv(1 << 16)
        except PermissionError:
            answer = b"no way in"
        except (ConnectionError, TimeoutError) as error:
            answer = b"" if isinstance(error, ConnectionError) else b"open"
        os.write(theirs, answer or b"closed")
        os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with os.fdopen(ours, "rb") as pipe:
        return pipe.read()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else for a moment")
def test_another_user_finds_no_way_in_and_is_not_heard_if_the_folders_are_open(monkeypatch: pytest.MonkeyPatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        runtime, workspace = Path(folder) / "run", Path(folder) / "w"
        runtime.mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        with Bridge(workspace, **worker()) as bridge:
            bridge.until_kind(p.CaughtUp)
            address = socket_path(workspace)
            Path(folder).chmod(0o711)
            assert as_another_user(str(address)) == b"no way in"
            for path in (runtime, address.parent, address):
                path.chmod(0o777)
            assert as_another_user(str(address)) == b"closed", "the host asks the kernel who is there"
            bridge.send(p.Watch(runs=("nobody",)))
            bridge.until_kind(p.Refused)
            runtime.chmod(0o700)
            address.parent.chmod(0o700)
            bridge.end()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else for a moment")
def test_a_socket_of_another_user_is_not_spoken_to(monkeypatch: pytest.MonkeyPatch):
    from engine.__main__ import _connect

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        address = str(Path(folder) / "theirs.sock")
        ready, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(address)
            Path(address).chmod(0o777)
            listening.listen()
            os.write(writing, b"x")
            listening.accept()
            os._exit(0)
        os.read(ready, 1)
        assert _connect(address) is None
        os.waitpid(child, 0)


def test_a_runtime_folder_that_others_can_enter_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # a longer path would not do for a socket
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        assert not socket_path(tmp_path / "w").is_relative_to(folder)
        folder.chmod(0o700)
        assert socket_path(tmp_path / "w").is_relative_to(folder)
        (folder / "svhn-tui").chmod(0o777)
        with pytest.raises(PermissionError, match="not yours alone"):
            socket_path(tmp_path / "w")


def test_names_that_are_no_text_get_one_sentence(tmp_path: Path):
    command = [*map(os.fsencode, [*PROGRAM, "run", "Q2", "--workspace", str(tmp_path), "--data"]), b"/tmp/bad\xff"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr.count(b"\n"), b"not UTF-8" in done.stderr) == (2, 1, True)
