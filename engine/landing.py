"""A run that trains elsewhere: its folder here, of which the relay is the one writer."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from engine import claims, pointer, run_folder
from engine import protocol as p
from engine.files import PRIVATE_FOLDER, write_atomically
from engine.freight import Arrival, Cargo, FreightError, Part, sha256_of
from engine.plausible import result_problem
from engine.spec import RunSpec

Kind = TypeVar("Kind")

RETRY_SECONDS = 1.0
"""How long a disk that takes nothing is given before it is tried again."""


class Landing:
    """Journal, checkpoints and the files at the end, each checked and then written as a worker here would."""

    def __init__(
        self, spec: RunSpec, workspace: Path, attempt: str, notice: Callable[[str], None], leaving: threading.Event
    ) -> None:
        """Open the run's folder and claim it for the attempt.

        Raises:
            OSError: it cannot be written.
        """
        self.spec = spec
        self.run_id = spec.run_id
        self._notice = notice
        self._leaving = leaving
        self._arrival: Arrival | None = None
        self._folder, self._journal = self._insist(lambda: run_folder.begin(workspace, spec))
        self._attempt = attempt
        claims.take(self._folder, attempt)
        self.result = run_folder.result_in(self._folder)

    @property
    def epoch(self) -> int:
        """Epochs that it goes on from."""
        return pointer.read(self._folder).epoch

    @property
    def is_superseded(self) -> bool:
        """A newer attempt has the run."""
        return claims.is_superseded(self._folder, self._attempt)

    def checkpoint(self) -> tuple[Cargo, Path] | None:
        """Return the newest checkpoint here that is whole, to be sent along."""
        for entry in pointer.read(self._folder).entries:
            path = self._folder / pointer.FOLDER / Path(entry.file).name
            with contextlib.suppress(OSError):
                if sha256_of(path) == entry.sha256:
                    return Cargo("checkpoint", entry.sha256, self.run_id, entry.epoch), path
        return None

    def note(self, event: p.AnyEvent, *, durable: bool = False) -> None:
        """Add an event to the journal."""
        was_waiting = self._journal.is_waiting
        error = self._journal.append(event, durable=durable)
        if error and not was_waiting:
            self._notice(f"The journal of {self.run_id} waits in memory: {error.strerror}. Training goes on.")

    def take(self, part: Part) -> None:
        """Take a part of a checkpoint or of the model; a model waits for its result.

        Raises:
            FreightError: it is not what was sent, or nothing that is waited for.
            OSError: the disk is full and the relay is leaving, or the folder is gone.
        """
        cargo = part.cargo
        if self._arrival is None or self._arrival.is_whole:
            self.drop()
            self._arrival = self._insist(lambda: Arrival(cargo, self._folder_of(cargo)))
        arrival = self._arrival
        is_whole = self._insist(lambda: arrival.take(part))
        if is_whole and cargo.kind == "checkpoint" and not self.is_superseded:
            path = self._folder / pointer.FOLDER / pointer.file_of(cargo.epoch)
            self._insist(lambda: arrival.publish(path))
            self._insist(lambda: pointer.commit(self._folder, cargo.epoch, cargo.sha256))
            self._arrival = None

    def finish(self, result: p.RunResult) -> bool:
        """Put the model that came in its place and write the result, last; say whether that is the run's.

        What an attempt did that was superseded is set aside.

        Raises:
            FreightError: the result is not that of this run and of the file that came.
            OSError: as `take`.
        """
        arrival = self._arrival
        if arrival is None or not arrival.is_whole or arrival.cargo != Cargo("model", result.model_sha256, self.run_id):
            raise FreightError("A result came without its model.")
        if result.spec != self.spec or result.run_id != self.run_id:
            raise FreightError("A result is another run's.")
        if problem := result_problem(result):
            raise FreightError(f"A result is none: {problem}.")
        aside = f".superseded-{self._attempt}" if self.is_superseded else ""
        self._insist(lambda: arrival.publish(self._folder / f"model{aside}.keras"))
        self._arrival = None
        if not aside:
            self.note(p.RunFinished(result=result), durable=True)
        path = self._folder / f"result{aside}.json"
        self._insist(lambda: write_atomically(path, msgspec.json.encode(result)))
        if not aside:
            pointer.remove(self._folder)
        return not aside

    def add_log(self, text: str) -> None:
        """Keep what the worker there printed."""
        with contextlib.suppress(OSError), (self._folder / "engine.log").open("a") as file:
            file.write(text)

    def drop(self) -> None:
        """Forget a file of which only a part came."""
        if self._arrival is not None:
            self._arrival.drop()
            self._arrival = None

    def close(self) -> None:
        """Write what is left of the journal; the folder is another's from here on."""
        self.drop()
        with contextlib.suppress(OSError):
            self._journal.close()

    def _folder_of(self, cargo: Cargo) -> Path:
        if cargo.kind == "checkpoint" and cargo.epoch <= self.spec.configuration.training.epochs:
            folder = self._folder / pointer.FOLDER
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            return folder
        if cargo.kind == "model":
            return self._folder
        raise FreightError("A file came that nobody waits for.")

    def _insist(self, action: Callable[[], Kind]) -> Kind:
        """Try until the disk takes it: what is on its way waits in the pipe meanwhile."""
        was_told = False
        while True:
            try:
                return action()
            except OSError as error:
                if isinstance(error, FileNotFoundError | NotADirectoryError):
                    raise  # the folder is gone, which no waiting mends
                if not was_told:
                    label = f"{self.spec.configuration.label}, seed {self.spec.seed}"
                    self._notice(f"What came of {label} cannot be written: {error.strerror}. It is tried again.")
                was_told = True
                if self._leaving.wait(RETRY_SECONDS):
                    raise
