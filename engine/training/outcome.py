"""How a run ended, in the words of the protocol: its result, or why there is none."""

from hashlib import file_digest
from pathlib import Path

from engine import protocol as p
from engine.core.spec import RunSpec
from engine.storage.claims import SUPERSEDED
from engine.storage.npz import DataError
from engine.training.convergence import slope_of
from engine.training.metrics import Activity
from engine.training.trainer import Trainer


def result_of(
    spec: RunSpec,
    history: p.History,
    data_set: p.DataSet,
    activity: Activity,
    trainer: Trainer,
    model: Path,
    parameters: int,
    started_at: float,
    finished_at: float,
) -> p.RunResult:
    """Put together what is known of a run whose epochs are done and whose file is written."""
    accuracies = [value or 0.0 for value in history.test_accuracy]
    best = max(range(len(accuracies)), key=accuracies.__getitem__)
    slope = slope_of(history.test_accuracy)
    with model.open("rb") as file:
        sha256 = file_digest(file, "sha256").hexdigest()
    return p.RunResult(
        run_id=spec.run_id,
        spec=spec,
        trainable_parameters=parameters,
        test_correct=round(accuracies[-1] * data_set.test_images),
        test_images=data_set.test_images,
        test_accuracy=accuracies[-1],
        test_loss=history.test_loss[-1],
        accuracy=history.accuracy[-1],
        loss=history.loss[-1],
        best_test_accuracy=accuracies[best],
        best_epoch=best + 1,
        slope=slope.value if slope else None,
        slope_error=slope.error if slope else None,
        dead_units=activity.dead,
        saturated_units=activity.saturated,
        diverged=history.loss[-1] is None or history.test_loss[-1] is None,
        seconds=sum(history.seconds),
        started_at=started_at,
        finished_at=finished_at,
        model_sha256=sha256,
        model_bytes=model.stat().st_size,
        device=trainer.device,
        versions=trainer.versions,
        demo_data=data_set.is_demo,
        trained_by=trainer.name,
    )


def superseded(run_id: str, epoch: int) -> p.RunInterrupted:
    """Say that another attempt has the run."""
    return p.RunInterrupted(run_id=run_id, reason=SUPERSEDED, epoch=epoch)


def failed(run_id: str, error: Exception) -> p.RunFailed:
    """Say what went wrong as a user would want to hear it; the traceback is in the run's `engine.log`."""
    text = (str(error).splitlines() or [""])[0][:300]
    match error:
        case DataError():
            reason = text
        case OSError():
            reason = f"{error.filename or 'A file'} cannot be written or read: {error.strerror}."
        case _ if is_out_of_memory(error):
            return p.RunFailed(run_id=run_id, reason="The device's memory is full.", out_of_memory=True)
        case _:
            reason = f"{type(error).__name__}: {text}; engine.log in the run's folder says more."
    return p.RunFailed(run_id=run_id, reason=reason)


def is_out_of_memory(error: Exception) -> bool:
    """Recognise Python's error, XLA's and TensorFlow's."""
    exhausted = "RESOURCE_EXHAUSTED" in str(error) or type(error).__name__ == "ResourceExhaustedError"
    return isinstance(error, MemoryError) or exhausted
