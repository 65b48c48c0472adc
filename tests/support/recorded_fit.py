"""A program whose fit is recorded, without Keras: a line of its stdin says what it does, `end` ends the fit."""

import os
import signal
import sys
from pathlib import Path

from svhn_tui.keras import Recorder


class Optimizer:
    learning_rate = 0.001


class Weight:
    shape = (30, 4)


class Dense:
    units = 10


class Model:
    name = "its own name"
    optimizer = Optimizer()
    loss = "mse"
    layers = (Dense(),)
    trainable_weights = (Weight(), Weight())

    def summary(self, print_fn):
        print_fn("the model's own summary")


def logs_of(epoch: int) -> dict[str, float | list[float]]:
    return {"loss": 2.0 / (epoch + 1), "accuracy": 0.5, "val_loss": 3.0, "val_accuracy": 0.25 + epoch / 64, "auc": 0.5,
            "f1": [1.0, 0.5], "words": "none"}  # fmt: skip


def begun(recorder: Recorder, epochs: int = 8) -> Recorder:
    """Do as Keras does when a fit begins."""
    recorder.set_params({"epochs": epochs, "steps": 10, "verbose": 0})
    recorder.set_model(Model())
    recorder.on_train_begin()
    return recorder


def trained(recorder: Recorder, epoch: int) -> None:
    recorder.on_epoch_begin(epoch)
    recorder.on_train_batch_end(0, {"loss": 1.0})
    recorder.on_epoch_end(epoch, logs_of(epoch))


def main() -> None:
    recorder = begun(Recorder("my cnn", workspace=Path(sys.argv[1]), seed=3, notes="by hand", tags=["mine"],
                              settings={"batch_size": 64}))  # fmt: skip
    epoch = 0
    for line in sys.stdin:
        if line == "epoch\n":
            trained(recorder, epoch)
            epoch += 1
        elif line == "fork\n":
            if (child := os.fork()) == 0:
                signal.pause()
            print(child, flush=True)
        else:
            recorder.on_train_end()
            print("written" if recorder.wait() else "not written", flush=True)


if __name__ == "__main__":
    main()
