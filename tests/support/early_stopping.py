"""What Keras's own callback is given, for tests that compare with it."""

from engine.core.options import TRAINING
from engine.core.spec import Training


def arguments_of(training: Training) -> dict[str, object]:
    """Return the arguments of `keras.callbacks.EarlyStopping` that are not at their defaults; none without it."""
    options = (option for option in TRAINING if option.use == "early stopping" and training.patience)
    return {option.name: value for option in options if (value := getattr(training, option.name)) != option.default}
