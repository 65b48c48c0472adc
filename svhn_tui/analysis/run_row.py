"""A run as one row for other programs: the columns of `runs.csv`, the keys of `svhn-tui runs --json`. Pure."""

import csv
import io
import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from engine.core.options import NETWORK, OPTIONS, TRAINING
from engine.core.spec import RunSpec
from engine.protocol import Note, RunResult
from svhn_tui.analysis.metrics import METRICS, OPTIONAL, logged_in

MEASURED = ("trainable_parameters", "test_correct", "test_images", "best_test_accuracy", "diverged", "seconds",
            "trained_by", "device", "demo_data", "data_name", "model_sha256")  # fmt: skip
"""Fields of a run's result except the metrics."""
COLUMNS = (
    "run_id", "configuration", *(option.name for option in NETWORK), "seed", *(option.name for option in TRAINING),
    *MEASURED[:3], *METRICS, *MEASURED[3:], *OPTIONAL, "epochs_trained", "restored_epoch", "finished", "note", "tags",
    "recorded", "interrupted",
)  # fmt: skip
"""Columns of every table; those of the metrics of recorded runs follow."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Characters that begin a formula in a spreadsheet."""


def settings_of(spec: RunSpec) -> dict[str, object]:
    """Return all settings of a run: the fields of its network and its training, by name.

    Those of a recorded run are the ones that its program reported, the others are None.
    """
    configuration = spec.configuration
    if configuration.recorded is not None:
        recorded = {name: configuration.recorded.setting(name) for name in OPTIONS}
        return {**recorded, "epochs": configuration.training.epochs}
    return {name: msgspec.to_builtins(option.read(configuration)) for name, option in OPTIONS.items()}


def written_settings(spec: RunSpec) -> dict[str, object]:
    """Return the settings of a run as cells, with the layers as text."""
    network = spec.configuration.network
    settings = settings_of(spec)
    if spec.recording is not None:
        return settings
    lists = {name: " ".join(map(str, value)) for name, value in settings.items() if isinstance(value, list | tuple)}
    layers = {
        "model": network.model.label if network.model else "",
        "convolutions": " ".join(f"{layer.filters}x{layer.kernel_size}" for layer in network.convolutions),
    }
    return {**settings, **lists, **layers}


def finished(run: RunResult) -> str:
    """Return the time at which a run was finished: `2026-11-24T10:05:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.finished_at))


def columns_of(runs: Iterable[RunResult]) -> tuple[str, ...]:
    """Return the columns of a table of these runs."""
    return (*COLUMNS, *(metric.name for metric in logged_in(runs) if metric.name not in COLUMNS))


def table_of(runs: Sequence[RunResult], notes: Mapping[str, Note]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return the columns of these runs and a row for each."""
    columns = columns_of(runs)
    return columns, [cells_of(run, notes.get(run.run_id), columns) for run in runs]


def cells_of(run: RunResult, note: Note | None, columns: Sequence[str] = COLUMNS) -> tuple[object, ...]:
    """Return a run's cells in the order of the columns; text that a spreadsheet would calculate is quoted."""
    recorded = run.spec.configuration.recorded
    known = {
        **dict(run.logged),
        **written_settings(run.spec),
        "recorded": "; ".join(f"{name}={value}" for name, value in recorded.settings) if recorded else "",
        **{name: metric.read(run) for name, metric in {**METRICS, **OPTIONAL}.items()},
        **{name: getattr(run, name) for name in (*MEASURED, "epochs_trained", "restored_epoch", "interrupted")},
        "run_id": run.run_id,
        "configuration": run.spec.configuration.label,
        "seed": run.spec.seed,
        "finished": finished(run),
        "note": note.text if note else "",
        "tags": " ".join(note.tags) if note else "",
    }
    if recorded is not None:
        known |= {"test_correct": None, "test_images": None}
    return tuple(harmless(known.get(name)) for name in columns)


def as_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV, the names of the columns first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(harmless, head))
    writer.writerows(rows)
    return text.getvalue()


def harmless(value: object) -> object:
    """Return a cell that a spreadsheet shows and never calculates; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
