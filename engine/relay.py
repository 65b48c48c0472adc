"""A relay: to the host a worker like any other, on its pipe; the training is done by an outpost on another machine.

`python -m engine.relay --name boxA --node boxA -- ssh ... boxA python3 -m engine.outpost ...` starts the command after
`--`, sends the outpost what it needs, and writes what comes back into the runs' folders here. A connection that is lost
is tried again, later and later; its runs go back to the queue meanwhile. With `--once` the host sees to that.
"""

import argparse
import contextlib
import os
import signal
import threading

from engine import protocol as p
from engine.connection import Connection, Ending
from engine.freight import LIBRARIES
from engine.worker import Telling, way_in

FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0
"""Patience before a connection is tried again; it doubles until something useful came."""


class Relay:
    """One connection after another."""

    def __init__(self, name: str, node: str, trainer: str, command: list[str], tell: Telling) -> None:
        self._name = name
        self._node = node
        self._trainer = trainer
        self._command = command
        self._tell = tell
        self._leaving = threading.Event()
        self._connection: Connection | None = None
        self._complaint = ""

    def obey(self) -> None:
        """Hand on the host's commands until it is gone or wants the worker to leave."""
        with contextlib.suppress(*p.UNREADABLE):  # the host died in the middle of a line
            for line in way_in():
                self._do(p.decode_worker_command(line))
        self.leave()

    def _do(self, command: p.WorkerCommand) -> None:
        connection = self._connection
        if isinstance(command, p.StopRuns):
            if connection is not None:
                connection.stop(command)
        elif connection is None or not connection.accept(command):
            for spec in command.specs:
                self._tell(p.RunInterrupted(run_id=spec.run_id, reason=f"{self._node} is not connected."))

    def leave(self) -> None:
        """Let the outpost end in order."""
        self._leaving.set()
        if self._connection is not None:
            self._connection.leave()

    def once(self) -> int:
        """Keep one connection and return how its command ended; the host sees to its runs as to any dead worker's."""
        return _exit_code(self._follow())

    def last(self) -> int:
        """Keep a connection until the host or the worker there ends."""
        patience = FIRST_SECONDS
        self._say("starting", f"Connecting to {self._node}.")
        while not self._leaving.is_set():
            ending = self._follow()
            if ending.worker_status is not None:
                return _exit_code(ending)
            if self._leaving.is_set():
                break
            self._complain(ending)
            self._leaving.wait(patience)
            patience = FIRST_SECONDS if ending.was_useful else min(2 * patience, LONGEST_SECONDS)
        self._say("ended")
        return 0

    def _complain(self, ending: Ending) -> None:
        """Say why there is no connection, once, and give back what was trained over the last one."""
        if ending.was_reached or ending.reason != self._complaint:
            self._say("waiting", f"{ending.reason} It is tried again, more and more rarely.")
        self._complaint = ending.reason
        reason = f"{self._node}: {ending.reason}"
        if ending.was_reached:
            self._tell(p.Noticed(text=reason, severity="warning"))
        assert self._connection is not None
        self._connection.returns.release(reason)

    def _follow(self) -> Ending:
        self._connection = Connection(self._name, self._node, self._trainer, self._tell, self._leaving)
        if self._leaving.is_set():  # told while there was none to tell it to
            return Ending("", 0)
        return self._connection.follow(self._command)

    def _say(self, state: p.WorkerState, text: str = "") -> None:
        self._tell(p.WorkerChanged(worker=self._name, state=state, text=text, pid=os.getpid()))


def _exit_code(ending: Ending) -> int:
    """Return a worker's exit status as a shell would."""
    status = ending.worker_status if ending.worker_status is not None else ending.status
    return 128 - status if status < 0 else status


def main() -> int:
    """Relay until there is nothing left to; return 0, or how the worker there ended."""
    parser = argparse.ArgumentParser(prog="python -m engine.relay")
    parser.add_argument("--name", required=True)
    parser.add_argument("--node", default="", help="what the user calls the machine; else its own name for itself")
    parser.add_argument("--trainer", choices=list(LIBRARIES), default="fast")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    os.umask(0o077)
    tell = Telling(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    relay = Relay(given.name, given.node, given.trainer, given.command, tell)
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=relay.leave).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in any worker
    threading.Thread(target=relay.obey, daemon=True).start()
    return relay.once() if given.once else relay.last()


if __name__ == "__main__":
    raise SystemExit(main())
