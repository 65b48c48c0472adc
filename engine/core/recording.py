"""What follows from the journal of a recorded run: its result. Pure.

The program that trained it may have been killed: recorder and host make the same result of the same rows.
"""

from collections.abc import Sequence

from engine.core.results import EpochRow, RunResult
from engine.core.spec import RunSpec

LEARNING_RATE = "learning_rate"
"""A setting of the run, whatever it was in the last epoch."""


def result_of(spec: RunSpec, rows: Sequence[EpochRow], finished_at: float, *, has_ended: bool) -> RunResult | None:
    """Return the result of a recorded run after its last epoch; None without an epoch.

    Args:
        spec: a recorded run's.
        rows: of its epochs, from the first on; epochs that are not known are gaps.
        finished_at: seconds since 1970.
        has_ended: the fit came to its own end, by early stopping for one.
    """
    model, recording = spec.configuration.recorded, spec.recording
    if not rows or model is None or recording is None:
        return None
    last, is_short = rows[-1], len(rows) < spec.configuration.training.epochs
    accuracies = [-1.0 if row.test_accuracy is None else row.test_accuracy for row in rows]
    best = max(range(len(rows)), key=accuracies.__getitem__) if max(accuracies) >= 0 else len(rows) - 1
    return RunResult(
        run_id=spec.run_id,
        spec=spec,
        trainable_parameters=model.trainable_parameters,
        test_correct=0,
        test_images=0,
        test_accuracy=last.test_accuracy,
        test_loss=last.test_loss,
        accuracy=last.accuracy,
        loss=last.loss,
        logged=tuple((name, value) for name, value in last.logged if name != LEARNING_RATE),
        best_test_accuracy=rows[best].test_accuracy,
        best_epoch=best + 1,
        epochs_trained=len(rows) if is_short else None,
        interrupted=is_short and not has_ended,
        diverged=last.is_diverged,
        seconds=sum(row.seconds or 0.0 for row in rows),
        started_at=recording.started_at,
        finished_at=max(finished_at, recording.started_at),
        model_sha256="",
        model_bytes=0,
        device=recording.device,
        versions=dict(recording.versions),
        trained_by="recorded",
    )
