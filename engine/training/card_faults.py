"""What an error in training says of the card: it failed, or others hold its memory; then the run is not at fault."""

from collections.abc import Sequence

from engine.core.spec import Configuration, RunSpec
from engine.machine import card, gpu_errors
from engine.machine.card import BUSY, SICK, CardRefused
from engine.training.trainer import Trainer


class CardFaults:
    """Judges the errors of one worker."""

    def __init__(self) -> None:
        self.fault: CardRefused | None = None
        """Why this process can train nothing more on its card; None as long as it can."""
        self._too_large: set[Configuration] = set()
        """What ran out of memory before."""

    def judge(self, error: Exception, specs: Sequence[RunSpec], trainer: Trainer) -> None:
        """Judge an error of a group. Where memory ran out, fewer runs are tried first, then others are waited for.

        Args:
            error: as the libraries raised it.
            specs: of the group.
            trainer: of this process.
        """
        if sign := gpu_errors.card_fault(str(error)):
            self.fault = self.fault or CardRefused(SICK, f"The GPU failed ({sign}).")
        if not gpu_errors.is_out_of_memory(str(error)):
            return
        configuration = specs[0].configuration
        is_least = len(specs) == 1 or configuration in self._too_large
        self._too_large.add(configuration)
        if is_least and (others := card.others_on(trainer.reserved_bytes)):
            self.fault = self.fault or CardRefused(BUSY, f"The card's memory is full: {others}.")
