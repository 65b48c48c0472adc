"""Where training runs, and the state of workers on other machines, in words. Pure."""

import time
from collections.abc import Iterable

import msgspec

from engine.protocol import Fleet, WorkerChanged
from svhn_tui import words
from svhn_tui.client.state import State

LIVELY = ("training", "ready", "starting", "waiting")
"""States of workers that exist, the busiest first."""


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker on another machine: its name, its state, and details."""

    name: str
    state: str
    text: str

    @property
    def sentence(self) -> str:
        """Name, state and details in one line."""
        return f"{self.name} {self.state}" + (f": {self.text}" if self.text else "")


def fleet_text(fleet: Fleet) -> str:
    """Say where training runs."""
    if fleet.is_local:
        if fleet.gpus == "none":
            return "on this machine without its GPUs"
        return words.clean(f"on this machine's GPU {fleet.gpus}") if fleet.gpus else "on this machine"
    parts = []
    if fleet.slurm is not None:
        options = f" with {fleet.slurm.strip()}" if fleet.slurm.strip() else ""
        parts.append(f"through Slurm, {words.plural(max(1, fleet.workers), 'worker')} at a time{options}")
    if fleet.ssh:
        parts.append("on " + ", ".join(fleet.ssh))
    return words.clean(" and ".join(parts))


def members_of(state: State) -> list[WorkerStatus]:
    """Return the workers on other machines: those that train first, then those that wait, then notable ends."""
    busy = {live.worker for live in state.running.values()}
    elsewhere = [some for some in state.workers.values() if some.where]
    there = [some for some in elsewhere if some.state != "ended"]
    there.sort(key=lambda some: LIVELY.index("training" if some.worker in busy else some.state))
    ended = [some for some in elsewhere if some.state == "ended" and some.text]
    return [member_of(some, is_busy=some.worker in busy) for some in (*there, *ended)]


def member_of(worker: WorkerChanged, *, is_busy: bool = False) -> WorkerStatus:
    """Describe a worker's state and location."""
    known = [f"job {worker.job}"] if worker.job else []
    location = f" on {location_of(worker)}" if worker.node else ""
    match worker.state:
        case "waiting":
            text = "waits in Slurm's queue"
            known += [worker.text] if worker.text else []
            known += [f"expected {_clock(worker.expected_at)}"] if worker.expected_at else []
        case "ended":
            text, known = "ended", [*known, worker.text.rstrip(".")]
        case "starting" if not worker.node:
            text = "is being reached"
        case _:
            text = ("trains" if is_busy or worker.state == "training" else f"is {worker.state}") + location
            known += [f"until {_clock(worker.ends_at)}"] if worker.ends_at else []
    return WorkerStatus(words.clean(worker.worker), words.clean(text), words.clean(" · ".join(known)))


def location_of(worker: WorkerChanged) -> str:
    """Name a worker's location: `node17, GPU 1`."""
    several = "s" if "," in worker.gpu else ""
    return f"{worker.node}, GPU{several} {worker.gpu}" if worker.gpu else worker.node


def summary_of(state: State) -> str:
    """Count the workers on other machines, in a few words; empty if all run on the host's machine."""
    busy = {live.worker for live in state.running.values()}
    there = [some for some in state.workers.values() if some.where and some.state != "ended"]
    if not there:
        return ""
    waiting = [some for some in there if some.state == "waiting"]
    training = sum(some.worker in busy for some in there)
    parts = [f"{training} of {words.plural(len(there), 'worker')} train" + ("s" if training == 1 else "")]
    if waiting:
        parts.append(f"{len(waiting)} in Slurm's queue{_soonest(waiting)}")
    return words.clean(" · ".join(parts))


def _soonest(waiting: Iterable[WorkerChanged]) -> str:
    first = min((some.expected_at for some in waiting if some.expected_at), default=None)
    reason = next((some.text for some in waiting if some.text), "")
    known = [reason] if reason else []
    known += [f"the first expected {_clock(first)}"] if first else []
    return f" ({', '.join(known)})" if known else ""


def _clock(seconds: float) -> str:
    """Format a time: `20:45`, with the day if it is not today."""
    is_today = time.strftime("%F", time.localtime(seconds)) == time.strftime("%F")
    return time.strftime("%H:%M", time.localtime(seconds)) if is_today else words.moment(seconds)
