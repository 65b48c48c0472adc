"""Workers on other machines over ssh: with a stand-in for ssh, and with a real sshd on loopback."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.protocol import Fleet
from engine.storage.journal import history
from engine.training import preflight
from engine.training.preflight import Preflight
from engine.workers import ssh as boxes
from tests.support.bridge import Bridge
from tests.support.shared import made_once
from tests.training.test_training import EventLog, same_weights, train

ROOT = Path(__file__).parents[2]
CONFIGURATION = Configuration(Network((32,), "relu"), Training(epochs=100))
STAND_IN = """#!/bin/sh
# The part of ssh that matters: options, `--`, a name, and a command for the shell of another machine.
while [ "$1" != -- ]; do shift; done
exec {python} {root}/tests/support/ssh_pipes.py {there}/$2 "$3"
"""
PYTHON = """#!/bin/sh
# Another machine's Python, on which a worker's epochs last a while: a fault finds it at work.
export PYTHONPATH={root} JAX_PLATFORMS=cpu SVHN_TUI_CHECKPOINT_SECONDS=0
for word; do
  shift
  [ "$word" = engine.training.worker ] && word=tests.support.paced_worker
  set -- "$@" "$word"
done
exec {executable} "$@"
"""


class There(NamedTuple):
    """Two boxes, boxA and boxB, and the environment in which ssh reaches them."""

    fleet: Fleet
    environment: dict[str, str]


class Here(NamedTuple):
    """Runs that were trained on this machine."""

    workspace: Path
    results: dict[str, p.RunResult]


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def machines(tmp_path: Path, *names: str, ssh: str) -> There:
    """Give each machine a home and a Python of its own, and us the ssh that reaches them."""
    there = tmp_path / "there"
    (there / "bin").mkdir(parents=True)
    named = []
    for name in names:
        (there / name).mkdir()
        text = PYTHON.format(root=ROOT, executable=sys.executable)
        named.append(f"{name}:{executable(there / name / 'python', text)}")
    executable(there / "bin" / "ssh", ssh.format(there=there, root=ROOT, python=sys.executable))
    return There(Fleet(ssh=tuple(named)), {"PATH": f"{there / 'bin'}:{os.environ['PATH']}"})


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> Here:
    """The same runs, trained on this machine, one by one as on any machine without a GPU."""

    def make(workspace: Path) -> None:
        for seed in range(3):
            train(workspace, demo_folder, CONFIGURATION, [seed], EventLog())

    workspace = made_once(tmp_path_factory, "here", make)
    results = (
        msgspec.json.decode(path.read_bytes(), type=p.RunResult) for path in workspace.glob("runs/*/result.json")
    )
    return Here(workspace, {result.run_id: result for result in results})


@pytest.fixture
def stand_in(tmp_path: Path) -> There:
    return machines(tmp_path, "boxA", "boxB", ssh=STAND_IN)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[There]:
    """A daemon of our own on loopback: its keys, its port and its configuration are in the test's folder."""
    daemon = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
    if daemon is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("OpenSSH's server is not installed")
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    port = free_port()
    server = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PidFile": folder / "pid",
        "AuthorizedKeysFile": folder / "user.pub", "StrictModes": "no", "UsePAM": "no", "PermitRootLogin": "yes",
        "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "LogLevel": "ERROR",
    }  # fmt: skip
    client = {
        "HostName": "127.0.0.1", "Port": port, "User": getpass.getuser(), "IdentityFile": folder / "user",
        "IdentitiesOnly": "yes", "UserKnownHostsFile": folder / "known", "StrictHostKeyChecking": "yes",
    }  # fmt: skip
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text("\n".join(f"{name} {value}" for name, value in server.items()))
    lines = (f"  {name} {value}" for name, value in client.items())
    (folder / "config").write_text("\n".join(["Host boxA boxB", *lines, ""]))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # an empty folder that sshd wants; its service would make it
    running = subprocess.Popen([daemon, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE)
    ssh = f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "config"} "$@"\n'
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                if running.poll() is not None:
                    pytest.skip(f"sshd does not start: {running.stderr.read().decode()}")
        yield machines(tmp_path, "boxA", "boxB", ssh=ssh)
    finally:
        running.terminate()
        running.wait()


def ssh_of(bridge: Bridge, box: str) -> psutil.Process:
    """Return the ssh client that a box is reached through."""
    host = psutil.Process(bridge.events[0].host_pid)
    return next(child for child in host.children() if any(Path(word).name == box for word in child.cmdline()))


def until_begun(bridge: Bridge) -> None:
    """Wait step by step: on a busy machine each may take the better part of a minute."""
    bridge.until(lambda state, event: isinstance(event, p.WorkerChanged) and event.state == "ready")
    bridge.until_kind(p.RunStarted)
    bridge.until_kind(p.EpochEnded)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stand_in", "sshd"])
def test_a_sweep_over_ssh_equals_the_local_one_though_a_connection_is_cut(
    request: pytest.FixtureRequest, demo_folder: Path, tmp_path: Path, here: Here, kind: str
):
    there: There = request.getfixturevalue(kind)
    workspace = tmp_path / "workspace"
    with Bridge(workspace, **there.environment) as bridge:
        bridge.send(p.SetFleet(fleet=there.fleet))
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("ssh", data.fingerprint, (CONFIGURATION,), (0, 1, 2))))
        until_begun(bridge)
        saved = bridge.until_kind(p.CheckpointSaved)
        box = bridge.state.running[saved.runs[0]].worker
        ssh_of(bridge, box).kill()
        interrupted = bridge.until_kind(p.RunInterrupted)
        assert interrupted.run_id in saved.runs
        bridge.until(lambda state, event: len(state.results) == 3)
        bridge.end()
    assert "the connection was lost (" in interrupted.reason
    starts = [event for event in bridge.events if isinstance(event, p.RunStarted)]
    resumed = [event for event in starts if event.runs == saved.runs]
    first, again = [event.epoch for event in resumed]
    assert first == 0
    assert again >= saved.epoch, "from its checkpoint, wherever it went on"
    assert {event.worker for event in starts} == {"boxA", "boxB"}
    are_as_here(workspace, bridge.state.results, here)


def are_as_here(workspace: Path, results: Mapping[str, p.RunResult], here: Here) -> None:
    """See that runs are those that were trained on this machine, bit for bit, and each trained to its end once."""
    assert results.keys() <= here.results.keys()
    for run_id, run in results.items():
        twin = here.results[run_id]
        assert same_weights(workspace, here.workspace, run_id)
        assert (run.test_accuracy, run.loss) == (twin.test_accuracy, twin.loss)
        journal = workspace / "runs" / run_id / "journal.jsonl"
        assert journal.read_bytes().count(b'"kind":"RunFinished"') == 1
        assert history(journal)[0].epochs == CONFIGURATION.training.epochs


REFUSED = """#!/bin/sh
# Is refused twice, and then finds no way.
echo . >> {there}/tries
[ $(wc -l < {there}/tries) -lt 3 ] && why='Connection refused' || why='No route to host'
echo "ssh: connect to host boxA port 22: $why" >&2
exit 255
"""


def test_a_box_that_is_not_reached_is_tried_again_and_each_reason_told_once(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    there = machines(tmp_path, "boxA", ssh=REFUSED)
    with Bridge(tmp_path / "workspace", **there.environment) as bridge:
        bridge.send(p.SetFleet(fleet=there.fleet))
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("ssh", data.fingerprint, (CONFIGURATION,), (0,))))
        bridge.until(lambda state, event: "No route" in getattr(event, "text", "") and isinstance(event, p.Noticed))
        assert len(bridge.state.queue) == 1, "what waits is not lost"
        bridge.end()
    assert [notice.text for notice in bridge.state.notices] == [
        f"boxA took no worker: no connection (ssh: connect to host boxA port 22: {why}). "
        f"It is tried again in {pause} s, then more rarely."
        for why, pause in (("Connection refused", 5), ("No route to host", 20))
    ]  # fmt: skip


BLIND = """#!/bin/sh
# A machine that has a folder of that name too, and in it nothing of ours.
while [ "$1" != -- ]; do shift; done
exec sh -c "$(printf '%s' "$3" | sed 's/"token":"[0-9a-f]*"/"token":"00"/')"
"""


def test_a_box_that_sees_another_workspace_is_told_so_before_anything_is_trained(demo_folder: Path, tmp_path: Path):
    there = machines(tmp_path, "boxA", ssh=BLIND)
    with Bridge(tmp_path / "workspace", **there.environment) as bridge:
        bridge.send(p.SetFleet(fleet=there.fleet))
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("ssh", data.fingerprint, (CONFIGURATION,), (0,))))
        shown = bridge.until(lambda state, event: "took no worker" in getattr(event, "text", ""))
        bridge.end()
    assert shown.text.startswith(f"boxA took no worker: It does not see {tmp_path / 'workspace'} as the host does.")
    assert "--host" in shown.text and "svhn-tui pack" in shown.text
    assert not list((tmp_path / "workspace" / "runs").iterdir())


def test_a_machine_is_fit_that_sees_the_token_and_the_data_and_has_the_same_libraries(tmp_path: Path):
    token, here = preflight.issue_token(tmp_path), preflight.versions("fast")
    (tmp_path / "train.npz").touch()
    fit = Preflight(str(tmp_path), token, (str(tmp_path / "train.npz"),), here)
    assert preflight.problem(fit, here) == ""
    for changed, words in [
        ({"token": "0" * 16}, f"does not see {tmp_path} as"),
        ({"workspace": str(tmp_path / "other")}, f"does not see {tmp_path / 'other'} as"),
        ({"files": (str(tmp_path / "gone.npz"),)}, f"does not see {tmp_path / 'gone.npz'} as"),
        ({"versions": here | {"keras": "3.15.0"}}, f"has keras {here['keras']} instead of 3.15.0"),
        ({"versions": here | {"svhn-tui's numerics": "99"}}, "svhn-tui's numerics"),
    ]:
        problem = preflight.problem(msgspec.structs.replace(fit, **changed), here)
        assert words in problem
        assert problem.endswith(".")


@pytest.mark.parametrize(
    ("cores", "gpus", "count", "portions"),
    [
        (4, 0, 1, [((0, 1, 2, 3), None)]),
        (4, 0, 2, [((0, 1), None), ((2, 3), None)]),
        (3, 0, 2, [((0,), None), ((1, 2), None)]),
        (1, 0, 2, [((0,), None), ((0,), None)]),
        (2, 4, 1, [((0, 1), None)]),
        (2, 2, 3, [((0, 1), 0), ((0, 1), 1), ((0, 1), 0)]),
    ],
)
def test_workers_of_one_box_divide_its_gpus_or_its_cores(cores: int, gpus: int, count: int, portions: list[object]):
    assert [preflight.portion(tuple(range(cores)), gpus, index, count) for index in range(count)] == portions


@pytest.mark.parametrize(
    ("status", "printed", "words"),
    [
        (255, ["boxA: Permission denied (publickey)."], "`ssh -o BatchMode=yes boxA` has to work."),
        (255, ["Host key verification failed."], "Run `ssh boxA` once"),
        (255, ["ssh: connect to host boxA port 22: Connection refused\n"], "lost (ssh: connect to host boxA port 22"),
        (127, ["svhn-tui is not installed there, or not where it was looked for"], "svhn-tui is not installed there"),
        (1, ["/home/me/.cache: Permission denied"], "lost (/home/me/.cache: Permission denied)."),
        (3, [], "lost (exit code 3)."),
        (1, ["\x1b]0;evil\x07\n", "\n"], "lost (]0;evil)."),
    ],
)
def test_what_keeps_a_box_from_training_is_said_in_a_sentence(status: int, printed: list[str], words: str):
    sentence = boxes.failure("boxA", status, printed, was_reached=True)
    assert words in sentence
    assert sentence.endswith(".")
    assert sentence.isprintable()
    assert boxes.failure("boxA", 1, [], was_reached=False) == "no connection (exit code 1)."
