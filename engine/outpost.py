"""An outpost: `python -m engine.outpost`, started on another machine by a relay, whose pipe is all that joins the two.

It runs a worker on a folder of its own, and sends home what the worker says, each checkpoint and each finished model.
It ends in order when its relay is gone, at once when it is silent for a minute, and leaves only cached data behind.
"""

import argparse
import contextlib
import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import msgspec
import psutil

from engine import devices, freight, pointer
from engine import protocol as p
from engine.data_cache import DataCache
from engine.files import make_folder
from engine.freight import Arrival, Cargo, FreightError
from engine.launcher import MODULES, death
from engine.placement import Machine
from engine.spec import NUMERICS_VERSION
from engine.system import oom_kills
from engine.worker import Telling, way_in

LOG_BYTES = 16 * 1024


class Shipments:
    """What goes home in order, files first. A checkpoint that still waits is replaced by a newer one of its run."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[p.AnyEvent | None] = []

    def put(self, event: p.AnyEvent | None) -> None:
        """Add an event; None is the last."""
        with self._changed:
            if isinstance(event, p.CheckpointSaved):
                self._waiting = [some for some in self._waiting if not _is_older(some, event)]
            self._waiting.append(event)
            self._changed.notify()

    def __iter__(self) -> Iterator[p.AnyEvent]:
        """Yield them until the last."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                event = self._waiting.pop(0)
            if event is None:
                return
            yield event


def _is_older(event: p.AnyEvent | None, saved: p.CheckpointSaved) -> bool:
    return isinstance(event, p.CheckpointSaved) and event.runs == saved.runs


class Outpost:
    """Between a relay, on the pipes `inbox` and `tell`, and a worker that it starts."""

    def __init__(self, scratch: Path, cache: DataCache, tell: Telling) -> None:
        self._scratch = scratch
        self._cache = cache
        self._tell = tell
        self._tasks: SimpleQueue[freight.Task] = SimpleQueue()
        self._fetched: SimpleQueue[str] = SimpleQueue()
        self._shipments = Shipments()
        self._arrival: Arrival | None = None
        self._active: set[str] = set()
        self._is_leaving = False

    def serve(self, command: list[str], environment: dict[str, str]) -> None:
        """Start the worker and work until the relay or the worker is gone.

        Raises:
            OSError: the worker cannot be started.
        """
        before = oom_kills()
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert worker.stdin is not None
        assert worker.stdout is not None
        self._command = Telling(worker.stdin)
        signal.signal(signal.SIGALRM, lambda number, frame: self._give_up(worker))
        signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=self._leave).start())
        for target in (self._obey, self._prepare):
            threading.Thread(target=target, daemon=True).start()
        shipping = threading.Thread(target=self._ship)
        shipping.start()
        for line in worker.stdout:
            event = p.decode_event(line)
            if isinstance(event, p.CheckpointSaved | p.Ended):
                self._shipments.put(event)
            else:
                self._tell(event)
        status = worker.wait()
        self._shipments.put(None)
        shipping.join()
        if not self._is_leaving:
            self._tell_death(status, oom_kills() - before)

    # --- from the relay ----------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        """Do what the relay says until it is gone."""
        try:
            for line in way_in():
                signal.alarm(freight.SILENCE_SECONDS)
                match freight.decode_out(line):
                    case freight.Task() as task:
                        self._tasks.put(task)
                    case freight.Part() as part:
                        self._take(part)
                    case p.StopRuns() as stop:
                        self._command(stop)
                    case freight.Beat():
                        pass
        except FreightError as error:
            print(f"svhn-tui: {error}", file=sys.stderr)
        except OSError as error:
            print(f"svhn-tui: {error.filename or self._scratch}: {error.strerror}", file=sys.stderr)
        self._leave()

    def _take(self, part: freight.Part) -> None:
        """Add a part of a data file or of a checkpoint."""
        cargo = part.cargo
        is_data, run_folder = cargo.kind == "data", self._run_folder(cargo.run_id)
        folder = self._cache.folder if is_data else run_folder / pointer.FOLDER
        if self._arrival is None:
            self._arrival = Arrival(cargo, make_folder(folder))
        if not self._arrival.take(part):
            return
        if is_data:
            self._arrival.publish(self._cache.path(cargo.sha256))
            self._fetched.put(cargo.sha256)
        else:
            self._arrival.publish(folder / pointer.file_of(cargo.epoch))
            pointer.commit(run_folder, cargo.epoch, cargo.sha256)
        self._arrival = None

    def _prepare(self) -> None:
        """Hand tasks to the worker, each once its data is there."""
        while task := self._tasks.get():
            train, test = (self._data(sha256) for sha256 in (task.train_sha256, task.test_sha256))
            data = msgspec.structs.replace(task.train.data, train_path=str(train), test_path=str(test))
            self._active |= {spec.run_id for spec in task.train.specs}
            self._command(msgspec.structs.replace(task.train, workspace=str(self._scratch), data=data))

    def _data(self, sha256: str) -> Path:
        with self._cache.fetching(sha256):
            if not self._cache.has(sha256):
                self._tell(freight.DataWanted(sha256=sha256))
                self._fetched.get()
        return self._cache.path(sha256)

    def _leave(self) -> None:
        """Let the worker checkpoint and end; `serve` sends home what it leaves."""
        self._is_leaving = True
        self._command.end()

    def _give_up(self, worker: subprocess.Popen[bytes]) -> None:
        """The relay is silent: what is written to it may block for hours, so nothing more is."""
        worker.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)
        os._exit(1)

    # --- home --------------------------------------------------------------------------------------------------------

    def _ship(self) -> None:
        """Send events whose files go before them."""
        for event in self._shipments:
            match event:
                case p.CheckpointSaved(runs=(run_id,)):
                    epoch = self._send_checkpoint(run_id)
                    if epoch:
                        self._tell(msgspec.structs.replace(event, epoch=epoch))
                    continue
                case p.RunFinished(result=result):
                    cargo = Cargo("model", result.model_sha256, result.run_id)
                    self._send(cargo, self._run_folder(result.run_id) / "model.keras")
                    self._forget(result.run_id)
                case p.RunFailed(run_id=run_id):
                    self._send_log(run_id)
                    self._forget(run_id)
                case p.RunInterrupted(run_id=run_id) | p.RunPaused(run_id=run_id):
                    self._forget(run_id)
            self._tell(event)

    def _send_checkpoint(self, run_id: str) -> int:
        """Send the newest checkpoint and return its epoch; 0 when a newer one has just taken its place."""
        folder = self._run_folder(run_id)
        for entry in pointer.read(folder).entries[:1]:
            with contextlib.suppress(FileNotFoundError):
                self._send(Cargo("checkpoint", entry.sha256, run_id, entry.epoch), folder / pointer.FOLDER / entry.file)
                return entry.epoch
        return 0

    def _send(self, cargo: Cargo, path: Path) -> None:
        with path.open("rb") as file:
            for part in freight.parts(cargo, file):
                self._tell(part)

    def _send_log(self, run_id: str) -> None:
        with contextlib.suppress(OSError), (self._run_folder(run_id) / "engine.log").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
            self._tell(freight.LogRead(run_id=run_id, text=file.read().decode(errors="replace")))

    def _tell_death(self, status: int, oom_kills: int) -> None:
        """The worker is dead: here it is known whether that was for memory."""
        found = death(status, oom_kills)
        for run_id in self._active:
            self._send_log(run_id)
            if found.out_of_memory:
                self._tell(p.RunFailed(run_id=run_id, reason=found.reason, out_of_memory=True))
        self._tell(freight.WorkerEnded(status=status))

    def _forget(self, run_id: str) -> None:
        """Drop a run that ended; should it come again, its checkpoint comes with it."""
        self._active.discard(run_id)
        shutil.rmtree(self._run_folder(run_id), ignore_errors=True)

    def _run_folder(self, run_id: str) -> Path:
        return self._scratch / "runs" / run_id


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m engine.outpost")
    parser.add_argument("--name", required=True)
    parser.add_argument("--trainer", choices=list(MODULES), default="fast")
    parser.add_argument("--share", default="0/1", help="the how-manieth of how many outposts of the user here")
    return parser.parse_args()


def main() -> None:
    """Say what is here, work, clean up."""
    given = arguments()
    os.umask(0o077)
    os.write(1, b"\n")  # what a login printed ends here
    tell = Telling(os.fdopen(os.dup(1), "wb"), freight.encode)
    os.dup2(2, 1)
    home = make_folder(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svhn-tui" / "outpost")
    drop_leftovers(home)
    machine = devices.machine()
    index, count = map(int, given.share.split("/"))
    tell(
        freight.Reached(
            host=socket.gethostname(),
            gpus=machine.gpus,
            workers=count,
            versions={name: importlib.metadata.version(name) for name in freight.LIBRARIES[given.trainer]},
            numerics=NUMERICS_VERSION,
        )
    )
    cores, gpu = portion(machine, index, count)
    environment = dict(os.environ) if gpu is None else os.environ | {"CUDA_VISIBLE_DEVICES": str(gpu)}
    command = [sys.executable, "-P", "-m", MODULES[given.trainer]]
    command += ["--name", given.name, "--cores", ",".join(map(str, cores))]
    scratch = Path(tempfile.mkdtemp(prefix=f"{socket.gethostname()}.{os.getpid()}.", dir=home))
    make_folder(scratch / "runs")
    try:
        Outpost(scratch, DataCache(home / "data"), tell).serve(command, environment)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def portion(machine: Machine, index: int, count: int) -> tuple[tuple[int, ...], int | None]:
    """Return the cores and the GPU of one of `count` outposts: they divide the GPUs, or else the cores.

    A single outpost keeps to no GPU: JAX takes the first of those that it may see.
    """
    cores = machine.cores
    if count == 1 or machine.gpus:
        return cores, index % machine.gpus if count > 1 else None
    return cores[index * len(cores) // count : (index + 1) * len(cores) // count] or cores, None


def drop_leftovers(home: Path) -> None:
    """Remove the folders of outposts of this machine that were killed."""
    for folder in home.glob(f"{socket.gethostname()}.*.*"):
        pid = folder.name.rsplit(".", 2)[1]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        raise SystemExit(f"{error.filename or 'svhn-tui'}: {error.strerror}") from None
