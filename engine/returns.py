"""What comes back from an outpost: checked, written into the runs' folders here, and then told to the host."""

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine import protocol as p
from engine.claims import SUPERSEDED
from engine.freight import FreightError
from engine.landing import Landing
from engine.spec import RunSpec


class Returns:
    """The runs that train at the other end of one connection."""

    def __init__(
        self,
        name: str,
        node: str,
        tell: Callable[[p.Message], None],
        stop: Callable[[p.StopRuns], None],
        leaving: threading.Event,
    ) -> None:
        self.node = node
        """Where they train, once that is known."""
        self.was_useful = False
        """A checkpoint or more came."""
        self._name = name
        self._tell = tell
        self._stop = stop
        self._leaving = leaving
        self._runs: dict[str, Landing] = {}
        self._known: set[str] = set()

    def begin(self, spec: RunSpec, train: p.Train) -> bool:
        """Open a run's folder; say whether the run is still to be trained."""
        try:
            landing = Landing(spec, Path(train.workspace), train.attempt, self._notice, self._leaving)
        except OSError as error:
            self._tell(p.RunFailed(run_id=spec.run_id, reason=in_words(error)))
            return False
        self._runs[spec.run_id] = landing
        self._known.add(spec.run_id)
        if landing.result is not None:
            self.end(p.RunFinished(result=landing.result))
        return landing.result is None

    def landing(self, run_id: str) -> Landing:
        """Return a run's folder.

        Raises:
            FreightError: it is not there that the run trains.
        """
        try:
            return self._runs[run_id]
        except KeyError:
            raise FreightError("It tells of a run that it does not have.") from None

    def record(self, event: p.RunStarted | p.EpochEnded | p.CheckpointSaved | p.Ended) -> None:
        """Write what became of runs, then tell the host.

        Raises:
            FreightError: it is not what a worker would say of the runs that it was sent.
            OSError: it cannot be written.
        """
        match event:
            case p.RunStarted() | p.EpochEnded():
                if isinstance(event, p.RunStarted):
                    event = msgspec.structs.replace(event, worker=self._name)
                self._note_lanes(event)
                self._tell(event)
            case p.CheckpointSaved(runs=runs):
                for landing in map(self.landing, runs):
                    if landing.is_superseded:
                        self._stop(p.StopRuns(runs=(landing.run_id,), why="interrupted"))
                        return
                    landing.note(event, durable=True)
                self.was_useful = True
                self._tell(event)
            case p.RunFinished(result=result):
                result = msgspec.structs.replace(result, device=f"{result.device} on {self.node}")
                landing = self.landing(result.run_id)
                is_the_runs = landing.finish(result)
                self.was_useful = True
                superseded = p.RunInterrupted(run_id=landing.run_id, reason=SUPERSEDED, epoch=landing.epoch)
                self.end(p.RunFinished(result=result) if is_the_runs else superseded)
            case p.RunFailed() | p.RunInterrupted() | p.RunPaused():
                self.landing(event.run_id).note(event)
                self.end(event)

    def end(self, event: p.Ended) -> None:
        """Let go of a run and tell what became of it."""
        run_id = event.result.run_id if isinstance(event, p.RunFinished) else event.run_id
        landing = self._runs.pop(run_id, None)
        if landing is not None:
            landing.close()
            self._tell(event)

    def release(self, reason: str) -> None:
        """Give the runs that did not end back to the host."""
        for landing in list(self._runs.values()):
            event = p.RunInterrupted(run_id=landing.run_id, reason=reason, epoch=landing.epoch)
            landing.note(event)
            self.end(event)

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

    def _notice(self, text: str) -> None:
        self._tell(p.Noticed(text=text, severity="error"))


def in_words(error: OSError) -> str:
    """Say which file it is about."""
    return f"{error.filename or 'A file'} cannot be read or written: {error.strerror}."
