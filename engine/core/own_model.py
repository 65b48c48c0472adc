"""The outcome of building an own model."""

import msgspec

from engine.core.data_shape import DataShape
from engine.core.spec import OwnModel


class Trial(msgspec.Struct, frozen=True):
    """A model to be built for data of this shape."""

    model: OwnModel
    shape: DataShape
    source: str
    """The text of its file."""
    name: str = ""
    """The user's name for the file, where that is known."""


class ModelFacts(msgspec.Struct, frozen=True, gc=False):
    """The facts about a built model, or why it could not be built."""

    parameters: int = 0
    """Number of trainable parameters."""
    refusal: str = ""
    """Why JAX cannot compile its training, without a full stop; then `model.fit` trains it."""
    problem: str = ""
    """Why it cannot be trained at all: what is wrong and where, then the lines of the file that lead there."""

    @property
    def remark(self) -> str:
        """How it trains, for the run's journal and page."""
        if self.refusal:
            return f"model.fit trains it, since JAX cannot compile it: {self.refusal}."
        return "It trains compiled on JAX: its layers keep their state in Keras's variables alone."
