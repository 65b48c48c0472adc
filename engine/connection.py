"""One connection of a relay to an outpost: what is sent there, who says what, and how it ended."""

import os
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from engine import boxes, freight
from engine import protocol as p
from engine.freight import Cargo, FreightError
from engine.returns import Returns, in_words
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
    """The command that joins the two."""

    def __init__(self, name: str, node: str, trainer: str, tell: Telling, leaving: threading.Event) -> None:
        self.returns = Returns(name, node, tell, self.stop, leaving)
        """What comes back."""
        self._name = name
        self._trainer = trainer
        self._tell = tell
        self._leaving = leaving
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._sending = ThreadPoolExecutor(1, thread_name_prefix="sending")
        self._data: dict[str, Path] = {}
        self._complaints: deque[str] = deque(maxlen=COMPLAINT_LINES)
        self._is_reached = False
        self._process: subprocess.Popen[bytes] | None = None
        self._worker_status: int | None = None

    # --- there -------------------------------------------------------------------------------------------------------

    def accept(self, train: p.Train) -> bool:
        """Take a task to be sent, its checkpoints first; say whether there is anybody to send it to."""
        with self._lock:
            if self._over.is_set() or not self._is_reached:
                return False
            self._sending.submit(self._send_task, train).add_done_callback(self._sent)
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
        specs = tuple(spec for spec in train.specs if self.returns.begin(spec, train))
        if not specs:
            return
        try:
            hashes = [self._hash(path) for path in (train.data.train_path, train.data.test_path)]
            for spec in specs:
                if found := self.returns.landing(spec.run_id).checkpoint():
                    self._send(*found)
        except OSError as error:
            for spec in specs:
                self.returns.end(p.RunFailed(run_id=spec.run_id, reason=in_words(error)))
            return
        train = msgspec.structs.replace(train, specs=specs)
        self._out(freight.Task(train=train, train_sha256=hashes[0], test_sha256=hashes[1]))

    def _hash(self, path: str) -> str:
        status = Path(path).stat()
        sha256 = _sha256(path, status.st_size, status.st_mtime_ns)
        self._data[sha256] = Path(path)
        return sha256

    def _send_data(self, sha256: str) -> None:
        self._send(Cargo("data", sha256), self._data[sha256])

    def _sent(self, sending: Future[None]) -> None:
        """What could not be sent would be waited for over there: the connection is begun anew."""
        if error := sending.exception():
            self._complaints.append(in_words(error) if isinstance(error, OSError) else repr(error))
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
            reason = in_words(error)
        with self._lock:
            self._over.set()
        process.stdout.close()  # who still writes is not heard
        status = self._ended(process)
        listening.join(END_SECONDS)
        self._sending.shutdown()  # runs that were about to be sent are among those that are given back
        said = tuple(self._complaints)
        reason = reason or boxes.complaint(self.returns.node, status, said, was_reached=self._is_reached)
        return Ending(reason, status, self._worker_status, self._is_reached, self.returns.was_useful)

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
                is_cut = not line.endswith(b"\n") and len(line) < freight.MAX_LINE_BYTES
                if self._is_reached and not is_cut:
                    raise
                continue  # what a login prints, or the last that came through a line that was cut
            if not self._is_reached and not isinstance(message, freight.Reached):
                raise FreightError("It does not say what it is.")
            self._take(message)

    def _take(self, message: freight.Home) -> None:
        match message:
            case freight.Reached():
                self._reached(message)
            case freight.Part():
                self.returns.landing(message.cargo.run_id).take(message)
            case freight.DataWanted(sha256=sha256):
                if sha256 not in self._data:
                    raise FreightError("It wants a file that it was not to have.")
                self._sending.submit(self._send_data, sha256).add_done_callback(self._sent)
            case freight.LogRead():
                self.returns.landing(message.run_id).add_log(message.text)
            case freight.WorkerEnded():
                self._worker_status = message.status
            case p.WorkerChanged():
                here = {"worker": self._name, "node": self.returns.node, "pid": os.getpid()}
                if message.state != "ended":  # that is for the relay to say
                    self._tell(msgspec.structs.replace(message, **here))
            case p.Noticed():
                self._tell(msgspec.structs.replace(message, text=f"{self.returns.node}: {message.text}"))
            case _:
                self.returns.record(message)

    def _reached(self, reached: freight.Reached) -> None:
        if difference := freight.difference(reached, self._trainer):
            raise FreightError(difference)
        if self.returns.node and reached.gpus > reached.workers:  # of a box; Slurm gives what was asked for
            text = f"{self.returns.node} has {reached.gpus} GPUs and {reached.workers} of them train"
            self._tell(p.Noticed(text=f"{text}; name it once for each GPU to use them all."))
        self.returns.node = self.returns.node or reached.host
        with self._lock:
            self._is_reached = True
        if self._leaving.is_set():
            self.leave()


@lru_cache
def _sha256(path: str, size: int, modified: int) -> str:
    """Hash a file once, as long as it is not changed."""
    return freight.sha256_of(Path(path))
