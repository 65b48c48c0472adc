"""The terminal goes away, as it does with an SSH connection: the screen leaves at once and training goes on."""

import os
import select
import signal
import termios
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from tests.faults.conftest import Tally
from tests.faults.patient_worker import PATIENT
from tests.host.test_engine import sweep_of
from tests.support.bridge import Bridge
from tests.support.patience import PATIENCE
from tests.support.terminal import Terminal


def own_it() -> None:
    """Make fd 0 the controlling terminal, whose end is told by SIGHUP."""
    ioctl(0, termios.TIOCSCTTY, 0)


def own_it_and_ignore_hangups() -> None:
    own_it()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


HANGUPS: dict[str, tuple[Callable[[], None] | None, tuple[int, ...]]] = {
    "terminal closed, with SIGHUP": (own_it, (-signal.SIGHUP, 129)),
    "terminal closed, SIGHUP ignored": (own_it_and_ignore_hangups, (129,)),
    "terminal closed, no SIGHUP": (None, (129,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("hangup", HANGUPS)
def test_the_screen_leaves_with_its_terminal_and_training_goes_on(
    demo_folder: Path, tmp_path: Path, hangup: str, tally: Tally
):
    before, codes = HANGUPS[hangup]
    row = tally(hangup)
    with Bridge(tmp_path, **PATIENT) as bridge:
        bridge.send(p.Submit(sweep=sweep_of(bridge.open(demo_folder), epochs=100_000)))
        with Terminal(tmp_path, 80, 24, before=before) as terminal:
            terminal.until(lambda text: "Q11" in text and "training" in text)
            screen = psutil.Process(terminal.process.pid)
            theirs = screen.children()
            used = sum(screen.cpu_times()[:2])
            terminal.hang_up()
            row.injected += 1
            used = processor_seconds_until_end(terminal) - used
            assert terminal.process.returncode in codes
        assert used < 1.0, "it burned nothing meanwhile"
        _, alive = psutil.wait_procs(theirs, timeout=PATIENCE)
        epoch = bridge.until_kind(p.EpochEnded).epoch
        bridge.until(lambda state, event: isinstance(event, p.EpochEnded) and event.epoch > epoch + 5)
        row.expect_none(wrong=len(alive))
        bridge.end()


def processor_seconds_until_end(terminal: Terminal) -> float:
    """Wait five seconds for the end of the screen; return what it used of the processor in its life."""
    pid = terminal.process.pid
    handle = os.pidfd_open(pid)
    ended = select.select([handle], [], [], 5.0)[0]
    os.close(handle)
    assert ended, "it leaves within five seconds"
    _, status, usage = os.wait4(pid, 0)
    terminal.process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime
