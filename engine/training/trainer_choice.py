"""Which trainer trains a group of runs. Pure."""

from typing import Literal, NamedTuple

from engine.core.options import TRAINING
from engine.core.spec import Configuration, Network, Training

KNOWN = ("epochs", "batch_size", "learning_rate", "validation_split", "trainer", "beta_1", "beta_2", "epsilon",
         "schedule", "warmup_epochs", "decay_epochs", "decay_rate", "alpha")  # fmt: skip
"""Options of training that the native trainer supports; with any other that is not at its default JAX trains."""
MOST_LAYERS, MOST_CLASSES = 16, 1_000
"""Limits of `epoch.c`."""


class TrainerChoice(NamedTuple):
    """The trainer, and the remark about it for the run's journal."""

    trainer: Literal["native", "jax"]
    remark: str = ""


class Circumstances(NamedTuple):
    """All besides its configuration on which the choice of a group's trainer depends."""

    classes: int
    lanes: int = 1
    """Runs side by side."""
    device: str = "cpu"
    """The device on which JAX trains."""
    problem: str = ""
    """Why there is no native library here, in a sentence without its full stop; empty when there is one."""
    dtype: str = "uint8"
    """Data type of the pixels or features."""
    written_by: str = ""
    """The trainer that wrote the checkpoint to resume from; empty at the beginning."""


def choose(configuration: Configuration, here: Circumstances) -> TrainerChoice:
    """Return the trainer of a group; a checkpoint is resumed by the trainer that wrote it where that is possible.

    Raises:
        ValueError: the configuration asks for the native trainer, which cannot train it here.
    """
    asked = configuration.training.trainer
    if asked == "jax":
        return TrainerChoice("jax")
    problem = unsuited(configuration, here) or here.problem
    if problem and asked == "native":
        raise ValueError(f"The native trainer was asked for and cannot train this: {problem}.")
    if not problem:
        return TrainerChoice("jax" if here.written_by == "jax" and asked != "native" else "native")
    if here.written_by != "native":
        return TrainerChoice("jax")
    return TrainerChoice(
        "jax", f"The native trainer trained it so far and JAX continues: {problem}. They differ by rounding."
    )


def unsuited(configuration: Configuration, here: Circumstances) -> str:
    """Return why the native trainer does not suit a group, even where it is installed; empty where it does."""
    if here.device != "cpu":
        return f"{here.device} trains"
    if here.lanes > 1:
        return "it trains one run at a time"
    if here.dtype != "uint8":
        return f"the data is {here.dtype}"
    if here.classes > MOST_CLASSES:
        return f"there are more than {MOST_CLASSES:,} classes"
    return _unsuited_network(configuration.network) or _unsuited_training(configuration.training)


def _unsuited_network(network: Network) -> str:
    if network.model is not None:
        return "the model comes from a file"
    if network.convolutions:
        return "the network has convolutions"
    if network.dropout or network.batch_normalization:
        return "the network has dropout or batch normalization"
    if network.input_scaling != 1:
        return "the network scales its inputs"
    if network.hidden and network.activation not in ("linear", "relu", "tanh"):
        return f"the activation is {network.activation}"
    if len(network.hidden) + 1 > MOST_LAYERS:
        return f"the network has more than {MOST_LAYERS} layers"
    return ""


def _unsuited_training(training: Training) -> str:
    """Name the first option that `epoch.c` does not know: it has Keras's Adam and schedules."""
    for option in TRAINING:
        value = getattr(training, option.name)
        if option.name not in KNOWN and value != option.default:
            return f"the {option.title} is {value}"
    return ""
