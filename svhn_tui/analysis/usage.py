"""The questions to which a run belongs, and whether it counts there. Pure."""

import msgspec

from engine.core.spec import RunSpec
from engine.core.sweep import asked
from svhn_tui.analysis.progress import difference_of
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question


class Use(msgspec.Struct, frozen=True):
    """A question about a run's network."""

    question: Question
    other: str = ""
    """Settings in which the run differs from the question; empty: it counts as asked."""


def uses_of(spec: RunSpec, book: Presets, state: State) -> tuple[Use, ...]:
    """Return the questions about this run's network, first those for which it counts as asked."""
    uses: list[Use] = []
    if spec.recording is not None:
        return ()
    for question in book.questions:
        name = book.data_of(question)
        sweep = book.sweep(question, data.fingerprint if (data := state.on(name).data) else "")
        if sweep is None:
            continue
        sweep = state.as_chosen(sweep)
        alike = [some for some in sweep.configurations if some.network == spec.configuration.network]
        if not alike:
            continue
        near = spec.configuration if spec.configuration in alike else alike[0]
        is_elsewhere = bool(name) and spec.data != sweep.data
        other = f"it is about {name}" if is_elsewhere else difference_of(spec.configuration.training, near.training)
        if not other and spec.data != sweep.data:
            other = "other data than those in use"
        if not other and spec not in asked(sweep, state.accuracies):
            other = f"seed {spec.seed}, which it does not ask for"
        uses.append(Use(question, other))
    return tuple(sorted(uses, key=lambda use: bool(use.other)))
