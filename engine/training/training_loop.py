"""One attempt at a group of runs: journal, checkpoints, and the files at the end, for any trainer."""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Self, TypeVar

from engine import protocol as p
from engine.core.compilation import data_problem
from engine.data import dataset
from engine.data.images import Images
from engine.machine import os_errors
from engine.machine.files import NotOurs
from engine.storage import checkpoint, claims
from engine.storage.npz import DataError
from engine.storage.run_folder import RunFolder
from engine.training import model_sources
from engine.training.card_faults import CardFaults
from engine.training.inbox import Stop
from engine.training.outcome import failed, result_of, superseded
from engine.training.run import Run
from engine.training.trainer import FinishedLane, Group, Trainer

CHECKPOINT_SECONDS = float(os.environ.get("SVHN_TUI_CHECKPOINT_SECONDS", "30"))
CHECKPOINT_EPOCHS = 10
"""A checkpoint is due when both have passed since the last one."""
SUPERSEDED = Stop("interrupted", claims.SUPERSEDED)
RETRY_SECONDS, LASTING_SECONDS = 1.0, 30.0
"""Time between two tries to write, and after how long an error that lasts (`os_errors.LASTING`) ends them."""

Returned = TypeVar("Returned")


class Attempts:
    """Trains tasks one after the other; the files of finished runs are written while the next group trains."""

    def __init__(
        self,
        worker: str,
        trainer: Trainer,
        publish: Callable[[p.AnyEvent], None],
        stop_of: Callable[[str], Stop | None],
    ) -> None:
        self._worker = worker
        self._trainer = trainer
        self._publish = publish
        self._stop_of = stop_of
        self._images: tuple[str, Images] | None = None
        self._finishing = ThreadPoolExecutor(1, thread_name_prefix="finishing")
        self._earlier: list[Future[None]] = []
        self._pending: list[Future[None]] = []
        """Tasks that write the files of finished runs: of the groups before, and of this one."""
        self._card = CardFaults()

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Write what is finished, then leave."""
        self._finishing.shutdown(wait=True)

    def train(self, task: p.Train) -> None:
        """Train a task's runs to their end, a failure or a stop.

        Raises:
            CardRefused: the card failed, or others use it; runs without an outcome continue elsewhere.
        """
        runs: list[Run] = []
        if self._card.fault:
            raise self._card.fault
        try:
            if task.source:
                model_sources.learn(task.source, task.source_name)
            for spec in task.specs:
                begun = partial(Run, spec, Path(task.workspace), self._warn, task.attempt, task.source)
                runs.append(self._insist("A run cannot be begun", spec.run_id, begun))
            self._log_to(runs[0].folder)
            for run in runs:
                if run.result is not None:
                    self._publish(p.RunFinished(result=run.result))
                    run.close()
            images = self._load(task.data)
            left = sorted((run for run in runs if run.result is None), key=lambda run: run.epoch)
            for _, alike in groupby(left, key=lambda run: run.epoch):
                self._train_alike(task, list(alike), images)
        except Exception as error:
            traceback.print_exc()
            self._card.judge(error, task.specs, self._trainer)
            over = {run.run_id for run in runs if run.is_over}
            for run in runs:
                if not run.is_over:
                    run.close()
            for spec in task.specs:
                if spec.run_id not in over:
                    self._publish(self._outcome(spec.run_id, error))
            if self._card.fault:
                raise self._card.fault from error

    def _warn(self, sentence: str) -> None:
        self._publish(p.Noticed(text=sentence, severity="warning"))

    def _insist(self, text: str, run_id: str, do: Callable[[], Returned]) -> Returned:
        """Repeat what needs the disk until it succeeds; `text` is shown to the user, with the error, if it fails.

        Raises:
            OSError: the run is to be stopped, or no waiting helps: its folder is gone or a link, or files may not grow.
        """
        is_reported, began = False, time.monotonic()
        while True:
            try:
                return do()
            except OSError as error:
                is_hopeless = isinstance(error, FileNotFoundError | NotADirectoryError | NotOurs)
                is_lasting = error.errno in os_errors.LASTING and time.monotonic() - began > LASTING_SECONDS
                if self._stop_of(run_id) or is_hopeless or is_lasting:
                    raise
                if not is_reported:
                    text = f"{text}: {error.strerror or error}. It is tried again."
                    self._publish(p.Noticed(text=text, severity="error"))
                is_reported = True
            time.sleep(RETRY_SECONDS)

    def _outcome(self, run_id: str, error: Exception) -> p.AnyEvent:
        """Return the event that ends a run after this error; a run that waits for the disk may have been stopped."""
        stop = self._stop_of(run_id)
        if self._card.fault:
            return p.RunInterrupted(run_id=run_id, reason=str(self._card.fault))
        if stop is None or not isinstance(error, OSError):
            return failed(run_id, error)
        if stop.why == "paused":
            return p.RunPaused(run_id=run_id)
        return p.RunInterrupted(run_id=run_id, reason=stop.reason)

    def _train_alike(self, task: p.Train, runs: list[Run], images: Images) -> None:
        """Train runs that have the same number of epochs behind them, as one group."""
        runs = [run for run in runs if not self._stopped_before_start(run)]
        if not runs:
            return
        training = runs[0].spec.configuration.training
        if problem := data_problem(training, len(images.train_labels), images.shape.classes):
            raise DataError(problem)
        group = self._trainer.group([run.spec for run in runs], images, [run.snapshot for run in runs])
        started = p.RunStarted(
            group=task.group,
            runs=tuple(run.run_id for run in runs),
            specs=tuple(run.spec for run in runs),
            worker=self._worker,
            device=group.trainer.device,
            epoch=group.epoch,
        )
        self._publish(started)
        for lane, run in enumerate(runs):
            self._note(run, p.of_lane(started, lane))
            for remark in filter(None, (task.remark, group.remark)):
                self._note(run, p.Noticed(text=remark))
        if group.remark:
            self._publish(p.Noticed(text=group.remark))
        saved_at, saved_epoch = time.monotonic(), group.epoch
        self._earlier, self._pending = [*self._earlier, *self._pending], []
        self._finish_trained(task, runs, group)
        while not all(run.is_over for run in runs):
            rows = group.train_epoch(lambda: self._is_all_stopped(runs))
            if rows is not None:
                self._record(task.group, runs, group, rows)
            self._release_stopped(runs, group)
            self._finish_trained(task, runs, group)
            passed, epochs = time.monotonic() - saved_at, group.epoch - saved_epoch
            if passed >= CHECKPOINT_SECONDS and epochs >= CHECKPOINT_EPOCHS:
                for lane, run in enumerate(runs):
                    if not run.is_over:
                        self._save(run, lane, group)
                saved_at, saved_epoch = time.monotonic(), group.epoch

    def _record(self, name: str, runs: Sequence[Run], group: Group, rows: tuple[p.EpochRow, ...]) -> None:
        """Report an epoch of the runs that are still trained to the host, and write it to each run's journal."""
        left = [lane for lane, run in enumerate(runs) if not run.is_over]
        images, seconds = group.training_images * len(left), rows[0].seconds
        ended = p.EpochEnded(
            group=name,
            runs=tuple(runs[lane].run_id for lane in left),
            epoch=group.epoch,
            rows=tuple(rows[lane] for lane in left),
            images_per_second=images / seconds if seconds else 0.0,
        )
        for index, lane in enumerate(left):
            run = runs[lane]
            run.curve = run.curve.and_then(rows[lane])
            if run.is_at_best:
                group.copy_best(lane)
            self._note(run, p.of_lane(ended, index))
        self._publish(ended)

    def _is_all_stopped(self, runs: Sequence[Run]) -> bool:
        return all(run.is_over or self._stop_of(run.run_id) for run in runs)

    def _release_stopped(self, runs: Sequence[Run], group: Group) -> None:
        """Checkpoint and release the runs that are to stop; the other lanes continue."""
        for lane, run in enumerate(runs):
            stop = self._stop_of(run.run_id) or (SUPERSEDED if run.is_seen_superseded else None)
            if stop is None or run.is_over or run.is_trained:
                continue
            if group.epoch:
                self._save(run, lane, group)
            self._release(run, stop)

    def _stopped_before_start(self, run: Run) -> bool:
        stop = self._stop_of(run.run_id)
        if stop is not None:
            self._release(run, stop)
        return stop is not None

    def _release(self, run: Run, stop: Stop) -> None:
        event: p.AnyEvent = p.RunInterrupted(run_id=run.run_id, reason=stop.reason, epoch=run.epoch)
        if stop.why == "paused":
            event = p.RunPaused(run_id=run.run_id, epoch=run.epoch)
        self._note(run, event)
        run.close()
        self._publish(event)

    def _save(self, run: Run, lane: int, group: Group) -> None:
        if run.is_superseded:
            return
        try:
            checkpoint.save(run.folder.path, group.snapshot(lane, p.History.of(run.curve.rows)))
        except OSError as error:
            self._publish(p.Noticed(text=f"A checkpoint could not be written: {error.strerror}.", severity="error"))
            return
        saved = p.CheckpointSaved(runs=(run.run_id,), epoch=run.epoch)
        self._note(run, saved, durable=True)
        self._publish(saved)

    def _note(self, run: Run, event: p.AnyEvent, *, durable: bool = False) -> None:
        was_waiting = run.journal.is_waiting
        error = run.journal.append(event, durable=durable)
        if error and not was_waiting:
            text = f"The journal of {run.run_id} waits in memory: {error.strerror}. Training continues."
            self._publish(p.Noticed(text=text, severity="error"))
        if was_waiting and not error:
            self._publish(p.Noticed(text=f"The journal of {run.run_id} is written again; nothing is missing."))

    def _finish_trained(self, task: p.Train, runs: Sequence[Run], group: Group) -> None:
        """Write the files of the runs that have nothing left to train; one that stops early waits for no other."""
        trained = [(lane, run) for lane, run in enumerate(runs) if run.is_trained and not run.is_over]
        while trained and self._earlier:
            self._earlier.pop().result()  # at most one group's networks wait in memory
        finished = [(run, group.finish(lane)) for lane, run in trained]
        for run, _ in finished:
            run.is_over = True  # from now on `_finish` reports its outcome
        self._pending += [
            self._finishing.submit(self._finish, task.data, run, lane, group.trainer) for run, lane in finished
        ]

    def _finish(self, data_set: p.DataSet, run: Run, lane: FinishedLane, trainer: Trainer) -> None:
        """Write a run's files, its result last; on a full disk, wait."""
        try:
            text = f"{run.spec.configuration.label}, seed {run.spec.seed} is trained but cannot be written"
            result = self._insist(text, run.run_id, lambda: self._write(data_set, run, lane, trainer))
            self._publish(p.RunFinished(result=result) if result else superseded(run.run_id, run.epoch))
        except Exception as error:  # noqa: BLE001  as in `train`
            traceback.print_exc()
            self._card.judge(error, [run.spec], self._trainer)
            self._publish(self._outcome(run.run_id, error))
        run.close()

    def _write(self, data_set: p.DataSet, run: Run, lane: FinishedLane, trainer: Trainer) -> p.RunResult | None:
        """Write the file, then the result; those of an attempt that was superseded are set aside."""
        return run.folder.finish(
            run.attempt,
            lambda path: lane.save(path, data_set.shape),
            lambda model, parameters: result_of(run, lane, data_set, trainer, model, parameters),
            lambda result: self._note(run, p.RunFinished(result=result), durable=True),
        )

    def _load(self, data_set: p.DataSet) -> Images:
        if self._images is None or self._images[0] != data_set.fingerprint:
            self._images = (data_set.fingerprint, dataset.load(data_set))
        return self._images[1]

    def _log_to(self, folder: RunFolder) -> None:
        """Send what libraries print, and tracebacks, to the log of the run that trains."""
        sys.stderr.flush()
        with contextlib.suppress(OSError), os.fdopen(folder.open_log(), "ab") as log:
            os.dup2(log.fileno(), 2)
