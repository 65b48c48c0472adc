"""What was set for a run: its options as they are sorted, looked for and written. Pure.

The options come from the engine's table (`engine/core/options.py`), so that one added there is listed, looked for and
exported.
"""

from engine.core.options import LISTED, Option
from engine.protocol import RunResult

TEXTS = {name for name, option in LISTED.items() if option.kind not in ("integer", "real")}
"""The options that are no number."""


def value_of(option: Option, run: RunResult) -> float | str:
    """Return what a run is sorted and looked for by: a number, or text; no number is none that compares."""
    value = option.read(run.spec.configuration)
    if option.name in TEXTS:
        return _written(value)
    return float("nan") if value is None else float(value)


def rank_of(option: Option, run: RunResult) -> float | str:
    """Return the same to sort by: what is left to Keras comes before the numbers."""
    value = value_of(option, run)
    return float("-inf") if value != value else value


def text_of(option: Option, run: RunResult) -> str:
    """Return an option as the Runs page shows it."""
    value = option.read(run.spec.configuration)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "–" if value in (None, ()) else f"{value:,}" if isinstance(value, int) else _written(value)


def _written(value: object) -> str:
    """Write text, yes and no, or a list as the filter wants them."""
    if isinstance(value, tuple):
        return ",".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return str(value).lower()
