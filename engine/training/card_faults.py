"""Decides whether an error in training is the card's: it failed, or others use its memory. Then no run is at fault."""

from collections.abc import Sequence

from engine.core.spec import Configuration, RunSpec
from engine.machine import card, gpu_errors
from engine.machine.card import BUSY, SICK, CardRefused
from engine.training.trainer import Trainer


class CardFaults:
    """Judges the errors of one worker."""

    def __init__(self) -> None:
        self.fault: CardRefused | None = None
        """Why this process can train no more on its card; None as long as it can."""
        self._too_large: set[Configuration] = set()
        """Configurations that ran out of memory before."""

    def judge(self, error: Exception, specs: Sequence[RunSpec], trainer: Trainer) -> None:
        """Set `fault` if an error of a group is the card's; where memory ran out, only after fewer runs were tried.

        Args:
            error: the exception of a library.
            specs: the runs of the group.
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
