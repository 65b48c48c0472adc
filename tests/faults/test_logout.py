"""Logging out and in again: systemd takes the runtime folder away, and a host that trains on has to be found again."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.storage import lock_file
from tests.faults.conftest import Tally
from tests.faults.patient_worker import PATIENT
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.patience import PATIENCE
from tests.support.terminal import PROGRAM

ROOT = Path(__file__).parents[2]
BRIDGE = [sys.executable, "-m", "engine", "--workspace"]


@pytest.fixture
def session() -> Iterator[Path]:
    """A place for runtime folders, short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def login(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


def train(bridge: Bridge, folder: Path) -> int:
    """Let something train for ever; return the host's pid."""
    data = bridge.open(folder)
    configuration = Configuration(Network(), Training(epochs=100_000))
    bridge.send(p.Submit(sweep=Sweep("for ever", data.fingerprint, (configuration,), (0,))))
    bridge.until_kind(p.EpochEnded)
    return next(event.host_pid for event in bridge.events if isinstance(event, p.Attached))


@pytest.mark.parametrize("is_attached", [True, False], ids=["attached", "not attached"])
@pytest.mark.parametrize("after", ["the same folder", "another folder", "no folder"])
def test_the_host_is_found_again_after_logging_out_and_in(
    demo_folder: Path,
    tmp_path: Path,
    session: Path,
    monkeypatch: pytest.MonkeyPatch,
    tally: Tally,
    after: str,
    is_attached: bool,
):
    row = tally("logging out and in, the runtime folder made anew or elsewhere")
    login(session / "1", monkeypatch)
    first = Bridge(tmp_path, **PATIENT)
    host = train(first, demo_folder)
    if not is_attached:
        first.__exit__()
    shutil.rmtree(session / "1")
    row.injected += 1
    if after == "no folder":
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    else:
        login(session / ("1" if after == "the same folder" else "2"), monkeypatch)
    with Bridge(tmp_path, **PATIENT) as second:
        second.until_kind(p.EpochEnded)
        row.expect_none(wrong=second.events[0].host_pid != host)
        if is_attached:
            first.until(lambda state, event: isinstance(event, p.EpochEnded) and event.epoch > 10)
        done = subprocess.run([*PROGRAM, "status", "-w", str(tmp_path)], capture_output=True, text=True, check=False)
        assert (done.returncode, "1 training" in done.stdout) == (0, True), done.stderr
        second.end()
    psutil.wait_procs([psutil.Process(pid) for pid in (host,) if psutil.pid_exists(pid)], timeout=PATIENCE)
    assert (tmp_path / "host.log").read_text() == ""


def test_a_socket_that_another_program_replaced_is_made_anew(
    demo_folder: Path, tmp_path: Path, session: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
):
    row = tally("the host's socket replaced by another one")
    login(session / "1", monkeypatch)
    with Bridge(tmp_path, **PATIENT) as bridge:
        host = train(bridge, demo_folder)
        address = Path(lock_file.read(tmp_path).address)
        for is_alive in (True, False):
            address.unlink()
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(address))
                if is_alive:  # a socket that is bound and listened to by nobody
                    other.listen(0)
            row.injected += 1
            with Bridge(tmp_path, **PATIENT) as another:
                another.until_kind(p.CaughtUp)
                row.expect_none(wrong=another.events[0].host_pid != host)
        bridge.end()


def test_a_folder_that_is_not_ours_alone_is_no_dead_end_and_leaves_nothing_behind(
    tmp_path: Path, session: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
):
    row = tally("the socket's folder occupied")
    login(session / "1", monkeypatch)
    (session / "1" / "svhn-tui").mkdir()
    (session / "1" / "svhn-tui").chmod(0o777)
    row.injected += 1
    with Bridge(tmp_path) as bridge, Bridge(tmp_path) as another:
        for each in (bridge, another):
            each.until_kind(p.CaughtUp)
        row.expect_none(wrong=bridge.events[0].host_pid != another.events[0].host_pid)
        address = Path(lock_file.read(tmp_path).address)
        assert address.exists()
        assert address.parent.stat().st_mode & 0o777 == 0o700
        assert not address.is_relative_to(session)
        bridge.end()
    psutil.wait_procs([psutil.Process(pid) for pid in {bridge.events[0].host_pid} if psutil.pid_exists(pid)], PATIENCE)
    assert not address.parent.exists()
    assert list((session / "1" / "svhn-tui").iterdir()) == []


def test_a_killed_hosts_spare_folder_is_taken_again(tmp_path: Path, session: Path, monkeypatch: pytest.MonkeyPatch):
    login(session / "1", monkeypatch)
    (session / "1" / "svhn-tui").write_text("a file")
    folders = set()
    for _ in range(2):
        with Bridge(tmp_path) as bridge:
            bridge.until_kind(p.CaughtUp)
            folders.add(lock_file.read(tmp_path).address)
            psutil.Process(bridge.events[0].host_pid).kill()
    (address,) = folders
    shutil.rmtree(Path(address).parent)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root gets a /tmp of its own")
def test_tmp_names_that_others_took_are_passed_by(demo_folder: Path, tally: Tally):
    """In a /tmp of this test's own: the usual name belongs to nobody, is a link, a file, or open to all."""
    plants = {
        "another user's": "mkdir -m 700 $N; chown 65534 $N",
        "a link to a folder of ours": "mkdir -m 700 /tmp/x; ln -s /tmp/x $N",
        "a file": "touch $N",
        "open to all": "mkdir $N; chmod 777 $N",
    }
    if ROOT.is_relative_to("/tmp"):
        pytest.skip("the program itself lies in /tmp, where this test puts another folder")
    row = tally("/tmp/svhn-tui-UID occupied")
    for plant in plants.values():
        script = f"""
        mount --bind "$DATA" /mnt && mount -t tmpfs tmpfs /tmp || exit 77
        N=/tmp/svhn-tui-0; {plant}; mkdir -m 700 /tmp/w
        "$@" run Q1 -w /tmp/w --data /mnt; "$@" status -w /tmp/w && "$@" stop -w /tmp/w && ls -A $N/ && ls -A /tmp"""
        environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        environment |= {"DATA": str(demo_folder), **worker()}
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *PROGRAM], env=environment,
                              capture_output=True, text=True, check=False)  # fmt: skip
        if done.returncode == 77 or "unshare failed" in done.stderr:
            pytest.skip("no mounts in this container")
        row.injected += 1
        row.expect_none(wrong="0 training" not in done.stdout or "Stopped." not in done.stdout)
        assert ".sock" not in done.stdout


def holder(tmp_path: Path, **changes: object) -> lock_file.Holder:
    """Write into the lock's file what another host would, and return that."""
    changed = lock_file.Holder("here", "boot", 1, "/nowhere/x.sock")._replace(**changes)
    (tmp_path / "host.lock").write_text(json.dumps(changed._asdict()) + "\nrest of a longer line}")
    return changed


def test_a_host_on_another_machine_is_named_at_once(tmp_path: Path):
    holder(tmp_path, hostname="gpubox", pid=4711)
    with lock_file.held(tmp_path):
        done = subprocess.run([*BRIDGE, str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "The host of this workspace runs on gpubox as process 4711; use --host gpubox, or `svhn-tui stop` there."
    )


def test_a_host_that_lives_and_does_not_answer_is_named_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from engine import __main__ as bridge

    monkeypatch.setattr(bridge, "PATIENCE_SECONDS", 1.0)
    with lock_file.held(tmp_path), (tmp_path / "host.lock").open("r+") as file:
        lock_file.write(file.fileno(), "/nowhere/x.sock")
        with pytest.raises(bridge.HostRefused, match=f"process {os.getpid()} on .* does not answer at /nowhere/x.sock"):
            bridge._connected(tmp_path)


@pytest.mark.parametrize("content", [
    b"", b"/tmp/svhn-tui-0/old.sock", b"4711", b"\xff\x00" * 3000, b"[" * 4000,
    b'{"hostname": 7, "pid": "x", "address": []}',
    b'{"hostname": "gpubox", "boot_id": "other", "pid": 1, "address": "/tmp/svhn-tui-0/x.sock"}\n',
])  # fmt: skip
def test_what_a_dead_host_wrote_is_a_hint_alone(tmp_path: Path, content: bytes):
    (tmp_path / "host.lock").write_bytes(content)
    with Bridge(tmp_path) as bridge:
        bridge.until_kind(p.CaughtUp)
        written = lock_file.read(tmp_path)
        assert (written.pid, written.is_elsewhere) == (bridge.events[0].host_pid, False)
        bridge.end()


def test_a_runtime_folder_with_a_long_path_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / ("x" * 100)
    login(folder, monkeypatch)
    with Bridge(tmp_path / ("w" * 200)) as bridge:
        bridge.until_kind(p.CaughtUp)
        assert list(folder.iterdir()) == []
        bridge.end()
