"""One connection of a relay to an outpost: what is sent there, what comes back, and how it ended."""

import os
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from engine import boxes, freight
from engine import protocol as p
from engine.claims import SUPERSEDED
from engine.freight import Cargo, FreightError
from engine.landing import Landing
from engine.spec import RunSpec
from engine.worker import Telling

END_SECONDS = 10.0
"""How long a command may take to end once its output has."""
COMPLAINT_LINES = 20
COMPLAINT_BYTES = 500
"""Of one line that the command complained in; more is not kept."""


class Ending(NamedTuple):
    """How a connection ended."""

    reason: str
    """One sentence, which leaves unsaid where that was."""
    status: int
    """Exit status of the command."""
    worker_status: int | None = None
    """Of the worker there, where that ended by itself."""
    was_reached: bool = False
    """There was an outpost, and it was the right one."""
    was_useful: bool = False
    """A checkpoint or more came."""


class Connection:
    """The command that joins the two, and the runs that train at its other end."""

    def __init__(self, name: str, node: str, trainer: str, tell: Telling, leaving: threading.Event) -> None:
        self._name = name
        self._node = node
        self._trainer = trainer
        self._tell = tell
        self._leaving = leaving
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._sending = ThreadPoolExecutor(1, thread_name_prefix="sending")
        self._runs: dict[str, Landing] = {}
        self._known: set[str] = set()
        self._data: dict[str, Path] = {}
        self._complaints: deque[str] = deque(maxlen=COMPLAINT_LINES)
        self._is_reached = self._was_useful = False
        self._process: subprocess.Popen[bytes] | None = None
        self._worker_status: int | None = None

    # --- there -------------------------------------------------------------------------------------------------------

    def accept(self, train: p.Train) -> bool:
        """Take a task to be sent, its checkpoints first; say whether there is anybody to send it to."""
        with self._lock:
            if self._over.is_set() or not self._is_reached:
                return False
            self._sending.submit(self._send_task, train)
        return True

    def stop(self, command: p.StopRuns) -> None:
        """Let runs go; tasks that are not sent yet are let go there when they come."""
        if self._is_reached:
            self._out(command)

    def leave(self) -> None:
        """Let the outpost end in order, or give up reaching one."""
        if self._is_reached:
            self._out.end()
        elif self._process is not None:
            self._process.terminate()

    def _send_task(self, train: p.Train) -> None:
        specs = tuple(spec for spec in train.specs if self._begin(spec, train))
        if not specs:
            return
        try:
            hashes = [self._hash(path) for path in (train.data.train_path, train.data.test_path)]
            for spec in specs:
                if found := self._runs[spec.run_id].checkpoint():
                    self._send(*found)
        except OSError as error:
            for spec in specs:
                self._end(p.RunFailed(run_id=spec.run_id, reason=_in_words(error)))
            return
        train = msgspec.structs.replace(train, specs=specs)
        self._out(freight.Task(train=train, train_sha256=hashes[0], test_sha256=hashes[1]))

    def _begin(self, spec: RunSpec, train: p.Train) -> bool:
        """Open a run's folder; say whether the run is to be trained."""
        try:
            landing = Landing(spec, Path(train.workspace), train.attempt, self._notice, self._leaving)
        except OSError as error:
            self._tell(p.RunFailed(run_id=spec.run_id, reason=_in_words(error)))
            return False
        self._runs[spec.run_id] = landing
        self._known.add(spec.run_id)
        if landing.result is not None:
            self._end(p.RunFinished(result=landing.result))
        return landing.result is None

    def _hash(self, path: str) -> str:
        status = Path(path).stat()
        sha256 = _sha256(path, status.st_size, status.st_mtime_ns)
        self._data[sha256] = Path(path)
        return sha256

    def _send_data(self, sha256: str) -> None:
        try:
            self._send(Cargo("data", sha256), self._data[sha256])
        except OSError as error:
            self._complaints.append(_in_words(error))
            self._out.end()

    def _send(self, cargo: Cargo, path: Path) -> None:
        with path.open("rb") as file:
            for part in freight.parts(cargo, file):
                self._out(part)

    # --- back --------------------------------------------------------------------------------------------------------

    def follow(self, command: list[str]) -> Ending:
        """Run the command and take what comes until it ends."""
        pipe = subprocess.PIPE
        try:
            self._process = process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            self._over.set()
            return Ending(f"{command[0]} cannot be run here: {error.strerror}.", boxes.NOT_FOUND)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._out = Telling(process.stdin, freight.encode)
        listening = threading.Thread(target=self._listen, args=(process.stderr,), daemon=True)
        listening.start()
        threading.Thread(target=self._beat, daemon=True).start()
        if self._leaving.is_set():
            self.leave()
        reason = ""
        try:
            self._read(process.stdout)
        except FreightError as error:
            reason = str(error)
            process.kill()  # nothing more that it says is believed
        except OSError as error:
            reason = _in_words(error)
        with self._lock:
            self._over.set()
        process.stdout.close()  # who still writes is not heard
        status = self._ended(process)
        listening.join(END_SECONDS)
        self._sending.shutdown()  # runs that were about to be sent are among those that are given back
        said = tuple(self._complaints)
        reason = reason or boxes.complaint(self._node, status, said, was_reached=self._is_reached)
        return Ending(reason, status, self._worker_status, self._is_reached, self._was_useful)

    def close(self) -> tuple[Landing, ...]:
        """Let go of the runs that did not end; return them."""
        left = tuple(self._runs.values())
        for landing in left:
            landing.close()
        self._runs.clear()
        return left

    def release(self, reason: str) -> None:
        """Give the runs that did not end back to the host."""
        for landing in self._runs.values():
            landing.note(p.RunInterrupted(run_id=landing.run_id, reason=reason, epoch=landing.epoch))
        for landing in self.close():
            self._tell(p.RunInterrupted(run_id=landing.run_id, reason=reason, epoch=landing.epoch))

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until the command is gone; it has said all that it will."""
        self._out.end()
        try:
            return process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _beat(self) -> None:
        while not self._over.wait(freight.BEAT_SECONDS):
            if self._is_reached:
                self._out(freight.Beat())

    def _listen(self, complaints: IO[bytes]) -> None:
        """Keep what the command complains of."""
        while line := complaints.readline(COMPLAINT_BYTES):
            self._complaints.append(line.decode(errors="replace"))
            sys.stderr.buffer.write(line)
            sys.stderr.flush()

    def _read(self, told: IO[bytes]) -> None:
        """Take line after line.

        Raises:
            FreightError: the other end is not what it should be.
            OSError: what came cannot be written here.
        """
        while line := told.readline(freight.MAX_LINE_BYTES):
            try:
                message = freight.decode_home(line)
            except FreightError:
                if self._is_reached:
                    raise
                continue  # what a login prints
            if not self._is_reached and not isinstance(message, freight.Reached):
                raise FreightError("It does not say what it is.")
            self._take(message)

    def _take(self, message: freight.Home) -> None:
        match message:
            case freight.Reached():
                self._reached(message)
            case freight.Part():
                self._landing(message.cargo.run_id).take(message)
            case freight.DataWanted(sha256=sha256):
                if sha256 not in self._data:
                    raise FreightError("It wants a file that it was not to have.")
                self._sending.submit(self._send_data, sha256)
            case freight.LogRead():
                self._landing(message.run_id).add_log(message.text)
            case freight.WorkerEnded():
                self._worker_status = message.status
            case p.WorkerChanged():
                here = {"worker": self._name, "node": self._node, "pid": os.getpid()}
                if message.state != "ended":  # that is for the relay to say
                    self._tell(msgspec.structs.replace(message, **here))
            case p.Noticed():
                self._tell(msgspec.structs.replace(message, text=f"{self._node}: {message.text}"))
            case _:
                self._record(message)

    def _reached(self, reached: freight.Reached) -> None:
        if difference := freight.difference(reached, self._trainer):
            raise FreightError(difference)
        if self._node and reached.gpus > reached.workers:  # of a box; Slurm gives what was asked for
            text = f"{self._node} has {reached.gpus} GPUs and {reached.workers} of them train"
            self._tell(p.Noticed(text=f"{text}; name it once for each GPU to use them all."))
        self._node = self._node or reached.host
        with self._lock:
            self._is_reached = True
        if self._leaving.is_set():
            self.leave()

    def _record(self, event: p.RunStarted | p.EpochEnded | p.CheckpointSaved | p.Ended) -> None:
        """Write what became of runs, then tell the host."""
        match event:
            case p.RunStarted():
                event = msgspec.structs.replace(event, worker=self._name)
                self._note_lanes(event)
                self._tell(event)
            case p.EpochEnded():
                self._note_lanes(event)
                self._tell(event)
            case p.CheckpointSaved(runs=runs):
                for landing in map(self._landing, runs):
                    if landing.is_superseded:
                        self.stop(p.StopRuns(runs=(landing.run_id,), why="interrupted"))
                        return
                    landing.note(event, durable=True)
                self._was_useful = True
                self._tell(event)
            case p.RunFinished(result=result):
                result = msgspec.structs.replace(result, device=f"{result.device} on {self._node}")
                landing = self._landing(result.run_id)
                is_the_runs = landing.finish(result)
                self._was_useful = True
                superseded = p.RunInterrupted(run_id=landing.run_id, reason=SUPERSEDED, epoch=landing.epoch)
                self._end(p.RunFinished(result=result) if is_the_runs else superseded)
            case p.RunFailed() | p.RunInterrupted() | p.RunPaused():
                self._landing(event.run_id).note(event)
                self._end(event)

    def _note_lanes(self, event: p.RunStarted | p.EpochEnded) -> None:
        if not self._known.issuperset(event.runs):
            raise FreightError("It tells of runs that it was not sent.")
        for lane, run_id in enumerate(event.runs):
            landing = self._runs.get(run_id)
            if landing is None:
                continue  # stopped; the other lanes of its group train on
            if event.epoch > landing.spec.configuration.training.epochs:
                raise FreightError("It tells of epochs that were not asked for.")
            landing.note(p.of_lane(event, lane))

    def _end(self, event: p.Ended) -> None:
        run_id = event.result.run_id if isinstance(event, p.RunFinished) else event.run_id
        landing = self._runs.pop(run_id, None)
        if landing is not None:
            landing.close()
            self._tell(event)

    def _landing(self, run_id: str) -> Landing:
        try:
            return self._runs[run_id]
        except KeyError:
            raise FreightError("It tells of a run that it does not have.") from None

    def _notice(self, text: str) -> None:
        self._tell(p.Noticed(text=text, severity="error"))


@lru_cache
def _sha256(path: str, size: int, modified: int) -> str:
    """Hash a file once, as long as it is not changed."""
    return freight.sha256_of(Path(path))


def _in_words(error: OSError) -> str:
    return f"{error.filename or 'A file'} cannot be read or written: {error.strerror}."
