"""A run as one row for other programs: the columns of `runs.csv`, the keys of `svhn-tui runs --json`. Pure."""

import time

import msgspec

from engine.core.spec import Network, Training
from engine.protocol import Note, RunResult
from svhn_tui.analysis.metrics import METRICS

MEASURED = ("trainable_parameters", "test_correct", "test_images", "best_test_accuracy", "diverged", "seconds",
            "trained_by", "device", "demo_data", "model_sha256")  # fmt: skip
"""Fields of a run's result, but for the metrics."""
COLUMNS = ("run_id", "configuration", *Network.__struct_fields__, "seed", *Training.__struct_fields__, *MEASURED[:3],
           *METRICS, *MEASURED[3:], "finished", "note", "tags")  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def settings_of(run: RunResult) -> dict[str, object]:
    """Return everything that was set for a run, its network's and its training's fields by name."""
    configuration = run.spec.configuration
    return {
        **{name: msgspec.to_builtins(getattr(configuration.network, name)) for name in Network.__struct_fields__},
        **{name: getattr(configuration.training, name) for name in Training.__struct_fields__},
    }


def finished(run: RunResult) -> str:
    """Return when a run was finished: `2026-11-24T10:05:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.finished_at))


def cells_of(run: RunResult, note: Note | None) -> tuple[object, ...]:
    """Return a run's cells in the order of `COLUMNS`; text that a spreadsheet would calculate is quoted."""
    layers = run.spec.configuration.network.convolutions
    known = {
        **settings_of(run),
        **{name: metric.read(run) for name, metric in METRICS.items()},
        **{name: getattr(run, name) for name in MEASURED},
        "run_id": run.run_id,
        "configuration": run.spec.configuration.label,
        "model": run.spec.configuration.network.model.label if run.spec.configuration.network.model else "",
        "hidden": " ".join(map(str, run.spec.configuration.network.hidden)),
        "convolutions": " ".join(f"{layer.filters}x{layer.kernel_size}" for layer in layers),
        "seed": run.spec.seed,
        "finished": finished(run),
        "note": note.text if note else "",
        "tags": " ".join(note.tags) if note else "",
    }
    return tuple(_harmless(known[name]) for name in COLUMNS)


def _harmless(value: object) -> object:
    """Return a cell that is shown and never calculated; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
