"""A worker: trains the groups that the host sends over its stdin and tells the events on its stdout.

It owns the folders of the runs it trains. Whatever happens, every run leaves an outcome: a result, a failure in words,
or a checkpoint. It stops in order when its stdin ends (the host is gone) and on SIGTERM.
"""

import argparse
import importlib
import os
import platform
import signal
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, Literal, NamedTuple

import msgspec

from engine import protocol as p
from engine.machine import card, devices, system
from engine.machine.backends import PLATFORM_VARIABLE, clear_environment, prepare_jax, prepare_tensorflow
from engine.machine.probe import Sight
from engine.training import preflight
from engine.training.preflight import Preflight

Why = Literal["paused", "cancelled", "interrupted"]


class Stop(NamedTuple):
    """Why a run is let go."""

    why: Why
    reason: str


HOST_GONE = Stop("interrupted", "The background process ended; the run goes on from its checkpoint.")
TERMINATED = Stop("interrupted", "The worker was told to end; the run goes on from its checkpoint.")
TRAINERS = {
    "fast": (prepare_jax, "engine.training.auto_trainer:AutoTrainer"),
    "keras-fit": (prepare_tensorflow, "engine.training.keras_trainer:KerasFitTrainer"),
}
"""How the libraries of each are set up before they are imported, and its class."""
WORDS = {"paused": "Paused.", "cancelled": "Stopped by the user.", "interrupted": "Stopped to go on later."}


class Telling:
    """The way out: messages as lines, from any thread, whole."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def __call__(self, message: p.Message) -> None:
        """Tell a message; when nobody listens any more it is dropped, since the journal has what matters."""
        with self._lock:
            try:
                self._file.write(p.encode(message))
                self._file.flush()
            except (BrokenPipeError, ValueError):
                return


class Inbox:
    """The way in: tasks wait their turn, stops are seen between two epochs."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: deque[p.Train] = deque()
        self._stops: dict[str, Stop] = {}
        self._ended: Stop | None = None

    def read(self, file: IO[bytes]) -> None:
        """Take commands until the pipe ends; what is none is passed over."""
        while line := file.readline(p.MAX_LINE_BYTES):
            try:
                self._take(p.decode_worker_command(line))
            except p.UNREADABLE as error:
                print(f"Not a command: {str(error)[:200]}", file=sys.stderr)
        self.end(HOST_GONE)

    def _take(self, command: p.WorkerCommand) -> None:
        with self._changed:
            if isinstance(command, p.Train):
                self._tasks.append(command)
            else:
                self._stops |= dict.fromkeys(command.runs, Stop(command.why, WORDS[command.why]))
            self._changed.notify()

    def end(self, stop: Stop) -> None:
        """Let everything go."""
        with self._changed:
            self._ended = self._ended or stop
            self._changed.notify()

    def next(self) -> p.Train | None:
        """Wait for the next task; None when the worker is to leave."""
        with self._changed:
            self._changed.wait_for(lambda: self._tasks or self._ended)
            return None if self._ended else self._tasks.popleft()

    def stop_of(self, run_id: str) -> Stop | None:
        """Say whether a run is to be let go, and why."""
        with self._changed:
            return self._ended or self._stops.get(run_id)

    def forget(self, runs: Sequence[str]) -> None:
        """Drop the stops of runs that were let go, so that they can be sent again."""
        with self._changed:
            for run_id in runs:
                self._stops.pop(run_id, None)


def way_in() -> IO[bytes]:
    """Return stdin for a thread that reads on to the end; with `sys.stdin` Python would abort when it leaves before."""
    return open(0, "rb", closefd=False)


def serve(name: str, load_trainer: str, seen: Sight | None = None) -> int:
    """Claim the pipes, load the trainer `module:class`, and train until the pipe ends.

    Args:
        name: the worker's, as the host knows it.
        load_trainer: imported only once stdout is safe from what native libraries print.
        seen: the GPU to train on.
    """
    tell = Telling(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    here = p.WorkerChanged(
        worker=name, state="starting", pid=os.getpid(), node=platform.node().partition(".")[0],
        gpu=os.environ.get("CUDA_VISIBLE_DEVICES", ""), job=os.environ.get("SLURM_JOB_ID", ""),
        uuid=seen.uuid if seen else "", pci=seen.pci if seen else "",
    )  # fmt: skip
    tell(here)
    inbox = Inbox()
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=inbox.end, args=(TERMINATED,)).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the command line's to answer
    threading.Thread(target=inbox.read, args=(way_in(),), daemon=True).start()
    from engine.training.training_loop import Attempts

    module, _, kind = load_trainer.partition(":")
    try:
        trainer = getattr(importlib.import_module(module), kind)()
        for remark in remarks_on(seen, trainer.device):
            tell(p.Noticed(text=remark, severity="warning"))
        tell(msgspec.structs.replace(here, state="ready", device=trainer.device))
        with Attempts(name, trainer, tell, inbox.stop_of) as attempts:
            while task := inbox.next():
                attempts.train(task)
                inbox.forget([spec.run_id for spec in task.specs])
    except card.Refused as refused:
        tell(msgspec.structs.replace(here, state="ended", text=str(refused)))
        os._exit(refused.status)  # what is left of the libraries may wait for the card for ever
    tell(msgspec.structs.replace(here, state="ended"))
    return 0


def refuse(name: str, refused: card.Refused) -> int:
    """Tell why this worker cannot train; return its exit code."""
    Telling(os.fdopen(os.dup(1), "wb"))(p.WorkerChanged(worker=name, state="ended", text=str(refused)))
    return refused.status


def remarks_on(seen: Sight | None, device: str) -> tuple[str, ...]:
    """Return what the user should know of a GPU that this worker was given, in sentences."""
    if seen is None:
        return ()
    without = "TensorFlow sees no GPU here, since its build is for CUDA 12: keras-fit trains on the CPU."
    return (*seen.remarks, without) if device == "cpu" else seen.remarks


def claim_cores(cores: str) -> None:
    """Keep to these CPU cores, such as `0,1`; to be called before a native library counts them."""
    system.claim_cores(tuple(map(int, cores.split(","))) if cores else ())


def arguments(program: str) -> argparse.Namespace:
    """Read the command line that every kind of worker is started with."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("--name", default="w0")
    parser.add_argument("--trainer", choices=list(TRAINERS), default="fast")
    parser.add_argument("--cores", default="", help="CPU cores to keep to, such as 0,1")
    parser.add_argument("--gpu", default="", help="UUID of the GPU to train on, or none")
    parser.add_argument("--preflight", default="", help="what to find on another machine than the host's, as JSON")
    return parser.parse_args()


def take_place(given: argparse.Namespace, trainer: str) -> Sight | None:
    """Keep to the cores and to the GPU that this worker was given; return what JAX sees of that GPU.

    Raises:
        Refused: the GPU cannot be had.
        SystemExit: another machine is not fit to train for this host; the message is one sentence.
    """
    if not given.preflight:
        claim_cores(given.cores)
        return card.take(given.gpu or card.NONE, os.environ)
    wanted = msgspec.json.decode(given.preflight, type=Preflight)
    if problem := preflight.problem(wanted, preflight.versions(trainer)):
        raise SystemExit(problem)
    if os.environ.get(PLATFORM_VARIABLE) == "cpu":
        return None
    if wanted.is_slurms:
        return card.take(card.GIVEN if os.environ.get("CUDA_VISIBLE_DEVICES") else card.NONE, os.environ)
    machine = devices.machine()
    cores, gpu = preflight.portion(machine.cores, len(machine.gpus), wanted.index, wanted.count)
    system.claim_cores(tuple(cores))
    gpu = gpu or 0  # one alone has the first
    return card.take(machine.gpus[gpu].uuid if machine.gpus else card.NONE, os.environ)


if __name__ == "__main__":
    given = arguments("python -m engine.training.worker")
    os.umask(0o077)  # a shared machine: what is trained here is the user's alone
    clear_environment()
    try:
        seen = take_place(given, given.trainer)
    except card.Refused as refused:
        raise SystemExit(refuse(given.name, refused)) from None
    prepare, trainer = TRAINERS[given.trainer]
    prepare()
    raise SystemExit(serve(given.name, trainer, seen))
