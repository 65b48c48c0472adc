"""The settings of a run: its options as they are sorted, filtered and written. Pure.

The options come from the engine's table (`engine/core/options.py`), so that one added there is listed, searched and
exported. Those of a recorded run are the ones that its program reported.
"""

from collections.abc import Callable

from engine.core.options import LISTED, Option
from engine.protocol import RunResult
from svhn_tui import words

TEXTS = {"model", *(name for name, option in LISTED.items() if option.kind not in ("integer", "real"))}
"""The settings that are not numbers."""
MEASURED = {"epochs", "trainer"}
"""Facts that are known of every recorded run."""


def reader_of(option: Option) -> Callable[[RunResult], float | str]:
    """Return the function from a run to the value that the filter compares: text, or a number, NaN where unknown."""
    name, is_measured = option.name, option.name in MEASURED
    written = _written if name in TEXTS else _number

    def value(run: RunResult) -> float | str:
        configuration = run.spec.configuration
        if configuration.recorded is not None and not is_measured:
            return _recorded(name, run)
        return written(option.read(configuration))

    return value


def rank_of(option: Option) -> Callable[[RunResult], float | str]:
    """Return the function from a run to the value to sort by; unknown ones come before the numbers."""
    read = reader_of(option)

    def rank(run: RunResult) -> float | str:
        value = read(run)
        return float("-inf") if value != value else value

    return rank


def text_of(option: Option, run: RunResult) -> str:
    """Return an option as the Runs page shows it."""
    recorded = run.spec.configuration.recorded
    if recorded is not None and option.name not in MEASURED:
        return words.clean(recorded.setting(option.name) or "–")
    value = option.read(run.spec.configuration)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "–" if value in (None, ()) else f"{value:,}" if isinstance(value, int) else _written(value)


def layers_of(run: RunResult) -> float | str:
    """Return the number of hidden layers."""
    if run.spec.configuration.recorded is not None:
        return _recorded("layers", run)
    return float(len(run.spec.configuration.network.hidden))


def model_of(run: RunResult) -> float | str:
    """Return the label of an own model; empty for other networks."""
    if run.spec.configuration.recorded is not None:
        return _recorded("model", run)
    model = run.spec.configuration.network.model
    return model.label if model else ""


def _recorded(name: str, run: RunResult) -> float | str:
    recorded = run.spec.configuration.recorded
    value = (recorded.setting(name) if recorded else None) or ""
    if name in TEXTS:
        return value
    try:
        return float(value or "nan")
    except ValueError:
        return float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _written(value: object) -> str:
    """Write text, yes and no, or a list as the filter wants them."""
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, tuple):
        return ",".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return str(value).lower()
