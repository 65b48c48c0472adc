"""The event with which a run ends: its result, or why there is none."""

from hashlib import file_digest
from pathlib import Path

from engine import protocol as p
from engine.core.results import FINAL
from engine.machine import gpu_errors, os_errors
from engine.storage.claims import SUPERSEDED
from engine.storage.npz import DataError
from engine.training.convergence import slope_of
from engine.training.early_stopping import epoch_of_weights
from engine.training.model_sources import ModelError
from engine.training.run import Run
from engine.training.trainer import FinishedLane, Trainer


def result_of(
    run: Run, lane: FinishedLane, data_set: p.DataSet, trainer: Trainer, model: Path, parameters: int
) -> p.RunResult:
    """Return the result of a run whose epochs are done.

    Args:
        run: the run.
        lane: its network.
        data_set: what it was trained on.
        trainer: what trained it.
        model: its file, which is written.
        parameters: number of trainable parameters.

    Raises:
        ValueError: its last epoch has no count of right test images.
        OSError: the file cannot be read.
    """
    rows, training, activity, finished_at = run.curve.rows, run.spec.configuration.training, lane.activity(), run.now
    final_epoch = epoch_of_weights(training, rows)
    last, accuracies = rows[final_epoch - 1], [row.test_accuracy or 0.0 for row in rows]
    if last.test_correct is None:
        raise ValueError("an earlier version trained its last epoch, and kept no count of the images that are right")
    best = max(range(len(accuracies)), key=accuracies.__getitem__)
    slope = slope_of([row.test_accuracy for row in rows])
    with model.open("rb") as file:
        sha256 = file_digest(file, "sha256").hexdigest()
    return p.RunResult(
        run_id=run.run_id,
        spec=run.spec,
        trainable_parameters=parameters,
        **{name: getattr(last, name) for name in FINAL},
        test_accuracy=accuracies[final_epoch - 1],
        best_test_accuracy=accuracies[best],
        best_epoch=best + 1,
        epochs_trained=len(rows) if len(rows) < training.epochs else None,
        restored_epoch=final_epoch if training.restore_best_weights else None,
        slope=slope.value if slope else None,
        slope_error=slope.error if slope else None,
        dead_units=activity.dead,
        saturated_units=activity.saturated,
        test_recall=activity.recall,
        diverged=last.is_diverged,
        seconds=sum(row.seconds or 0.0 for row in rows),
        started_at=run.started_at,
        finished_at=finished_at,
        model_sha256=sha256,
        model_bytes=model.stat().st_size,
        device=trainer.device,
        versions=trainer.versions,
        demo_data=data_set.is_demo,
        data_name=data_set.name,
        trained_by=trainer.name,
        provenance=lane.provenance,
    )


def superseded(run_id: str, epoch: int) -> p.RunInterrupted:
    """Return the event for a run that a newer attempt has."""
    return p.RunInterrupted(run_id=run_id, reason=SUPERSEDED, epoch=epoch)


def failed(run_id: str, error: Exception) -> p.RunFailed:
    """Return the event for a run that failed, with a sentence for the user; `engine.log` holds the traceback."""
    text = (str(error).splitlines() or [""])[0][:300]
    match error:
        case DataError():
            reason = text
        case ModelError():
            reason = str(error)
        case OSError():
            cannot = f"{error.filename or 'A file'} cannot be written or read: {error.strerror}."
            reason = os_errors.sentence_of(error) or cannot
        case _ if is_out_of_memory(error):
            return p.RunFailed(run_id=run_id, reason="The device's memory is full.", out_of_memory=True)
        case _:
            reason = f"{type(error).__name__}: {text}; engine.log in the run's folder says more."
    return p.RunFailed(run_id=run_id, reason=reason)


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error of Python, XLA, cuBLAS or TensorFlow means that memory ran out."""
    is_named = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
    return is_named or gpu_errors.is_out_of_memory(str(error))
