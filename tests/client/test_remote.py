"""The screen here, the work on another machine: over a stand-in for ssh that runs the command elsewhere."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from svhn_tui.client import remote_host
from svhn_tui.client.bridge import LONGEST_WAIT, Link, LinkLost, ReconnectPause
from tests.support.patience import PATIENCE
from tests.support.terminal import PROGRAM, Terminal

SSH = """#!/bin/sh
echo $$ > {home}/../ssh.pid
while [ "$1" != -- ]; do shift; done
[ "$2" = gpubox ] || {{ echo "ssh: Could not resolve hostname $2: Name or service not known" >&2; exit 255; }}
exec {python} {here}/tests/support/ssh_pipes.py {home} "$3"
"""
PYTHON = """#!/bin/sh
export PYTHONPATH={here} SVHN_TUI_WORKER="{python} -m tests.support.fake_worker"
exec {python} "$@"
"""
DOWN, UP = "\x1b[B", "\x1b[A"


@pytest.fixture
def gpubox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home on a machine that `ssh gpubox` reaches; svhn-tui was installed there as the README says."""
    home, tools = tmp_path / "home", tmp_path / "tools"
    python = home / "svhn-tui" / ".venv" / "bin" / "python"
    for file, content in ((tools / "ssh", SSH), (python, PYTHON)):
        file.parent.mkdir(parents=True)
        file.write_text(content.format(home=home, here=Path(__file__).parents[2], python=sys.executable))
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return home


def svhn_tui(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_the_screen_trains_over_there_and_survives_a_cut_line(gpubox: Path, tmp_path: Path):
    with Terminal(tmp_path, 100, 30, "--host", "gpubox", SVHN_TUI_WORKSPACE=None) as terminal:
        terminal.until(lambda text: "demo data" in text and "Q11" in text)
        terminal.press(DOWN)
        terminal.until(lambda text: "Q2  fit it" in text)
        terminal.press("\r")
        terminal.until(lambda text: "idle · 1 run" in text)
        (run,) = (gpubox / "svhn-workspace" / "runs").iterdir()
        assert (run / "result.json").exists()

        os.kill(int((tmp_path / "ssh.pid").read_text()), signal.SIGTERM)
        shown = terminal.until(lambda text: "connection lost" in text)
        assert "Q11" in shown, "what was known stays"
        terminal.press("3")
        terminal.until(lambda text: "1 of 1 run" in text and "linear, seed 0" in text)
        terminal.until(lambda text: "connection lost" not in text)
        terminal.press("1" + UP)
        terminal.until(lambda text: "Q1  linear network" in text)
        terminal.press("c")
        terminal.until(lambda text: "Copied, if" in text)  # a long path may be wrapped anywhere
        assert (tmp_path / "config" / "svhn-tui" / "hosts" / "gpubox" / "copied.txt").exists()
        assert not (gpubox / "svhn-workspace" / "copied.txt").exists()
        terminal.press("q")
        assert terminal.ended() == 0
    assert svhn_tui("--host", "gpubox", "stop").returncode == 0


def test_commands_run_over_there_with_their_exit_codes(gpubox: Path):
    (gpubox / "svhn-workspace").mkdir(mode=0o700)
    done = svhn_tui("--host", "gpubox", "status", "--json")
    assert f'"workspace": "{gpubox}/svhn-workspace"' in done.stdout, done.stderr
    wrong = svhn_tui("--host", "gpubox:svhn-tui/.venv/bin/python", "run", "Q22")
    assert (wrong.returncode, "did you mean 'Q2'?" in wrong.stderr) == (2, True)
    svhn_tui("--host", "gpubox", "stop")


async def complaint(host: str) -> str:
    with pytest.raises(LinkLost) as caught:
        async with Link(Path("w"), remote=remote_host.parse(host)) as link:
            async for _ in link.events():
                pass
    return str(caught.value)


async def test_what_keeps_the_screen_from_it_is_said_in_a_sentence(gpubox: Path):
    assert "is not installed there" in await complaint("gpubox:elsewhere/bin/python")
    assert "no machine of this name" in await complaint("gpubax")
    done = svhn_tui("--host", "gpubox:elsewhere/bin/python", "status")
    assert (done.returncode, "--host gpubox:PATH/bin/python" in done.stderr) == (127, True)
    wrong = svhn_tui("--host", "-oProxyCommand=x", "status")
    assert (wrong.returncode, "is not a machine" in wrong.stderr) == (2, True)
    (gpubox / "svhn-tui/.venv/bin/python").write_text('#!/bin/sh\necho \'{"kind": "Attached", "protocol": 99}\'\n')
    assert "another version of svhn-tui" in await complaint("gpubox")


async def test_a_banner_hides_no_reason(gpubox: Path):
    banner = "echo 'Authorised use only' >&2; sleep 0.2; echo 'me@gpubox: Permission denied (publickey).' >&2; exit 255"
    (gpubox.parent / "tools" / "ssh").write_text(f"#!/bin/sh\n{banner}\n")
    assert "set up a key" in await complaint("gpubox")


def test_a_password_and_a_lost_line_are_explained():
    machine = remote_host.parse("me@gpubox")
    assert "set up a key: `ssh -o BatchMode=yes me@gpubox`" in machine.explained("x\nPermission denied (publickey).\n")
    assert machine.explained("\x1b[31mBroken pipe") == "me@gpubox: �[31mBroken pipe"
    assert machine.explained("") == "me@gpubox: the connection was lost"


async def test_patience_grows_and_ends_at_once_when_somebody_wants_something():
    patience = ReconnectPause()
    assert patience.is_news("cut") and not patience.is_news("cut")
    waits = []
    for _ in range(8):
        waits.append(patience.seconds)
        patience.end()
        await asyncio.wait_for(patience.wait(), 0.5)
    assert (waits[:3], waits[-1]) == ([1.0, 2.0, 4.0], LONGEST_WAIT)
    patience.renew()
    assert patience.is_news("cut") and patience.seconds == 1.0
