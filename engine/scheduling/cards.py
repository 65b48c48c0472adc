"""Which of the chosen GPUs may be used now: others may use one, or it failed. Pure.

A card that others use is tried again, more and more rarely. One that cannot be used at all, or under which two workers
failed, is set aside until the user chooses again or the host starts again.
"""

from engine.core.machine import Card
from engine.scheduling.backoff import Backoff

FAULTS = 2
"""Number of failures caused by a card after which it is not used any more."""


class Cards:
    """The GPUs of this machine that the user chose, and which of them cannot be used now."""

    def __init__(self, cards: tuple[Card, ...]) -> None:
        self.all = cards
        self._backoff = Backoff()
        self._aside: dict[str, str] = {}
        self._faults: dict[str, int] = {}

    def free(self, now: float) -> tuple[Card, ...]:
        """Return the cards that may be tried."""
        resting = self._backoff.resting(now)
        return tuple(card for card in self.all if card.uuid not in self._aside and card.uuid not in resting)

    def has_any(self) -> bool:
        """Say whether there is a card that is not set aside, even if others use it at present."""
        return any(card.uuid not in self._aside for card in self.all)

    def has(self, uuid: str) -> bool:
        """Say whether a card is among them, and not set aside."""
        return any(card.uuid == uuid for card in self.all) and uuid not in self._aside

    def label(self, uuid: str) -> str:
        """Return a card's label, such as `gpu1`."""
        return next((card.label for card in self.all if card.uuid == uuid), uuid)

    def busy(self, uuid: str, reason: str, now: float) -> tuple[float, bool]:
        """Record that others use a card; return the seconds until it is tried again, and whether the reason is new."""
        return self._backoff.refuse(uuid, reason, now)

    def remarks(self) -> tuple[str, ...]:
        """Say why cards are not used now."""
        aside = [f"{self.label(uuid)} is not used: {reason}" for uuid, reason in self._aside.items()]
        busy = [f"{self.label(uuid)} is left alone: {reason}" for uuid, reason in self._backoff.reasons.items()]
        return (*aside, *busy)

    def works(self, uuid: str) -> None:
        """Record that a worker trains on a card."""
        self._backoff.accept(uuid)

    def set_aside(self, uuid: str, reason: str) -> None:
        """Stop using a card, for this reason."""
        self._aside[uuid] = reason

    def failed(self, uuid: str, reason: str) -> bool:
        """Count a failure caused by a card; return whether the card is set aside now."""
        self._faults[uuid] = self._faults.get(uuid, 0) + 1
        if self._faults[uuid] >= FAULTS:
            self.set_aside(uuid, reason)
        return uuid in self._aside
