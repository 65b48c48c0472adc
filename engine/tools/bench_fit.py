"""The reference of the benchmark: one long `model.fit` on TensorFlow or on JAX, resumed one round at a time.

It writes `ready`, waits for a line `go N`, trains N warm epochs, writes their seconds, and waits again. An epoch is
training and the evaluation of the test images, as in the engine.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from engine.core.spec import Network, Training
from engine.data import dataset
from engine.data.images import Images
from engine.machine import backends

TRIAL_BATCHES = 200
WARM_EPOCHS = {"tensorflow": 1, "jax": 2}
"""Keras on JAX compiles again in its second epoch."""
OPTIONS = {"tensorflow": tuple(product((1, 50), (False, True))), "jax": ((1, True), (50, True))}
"""`steps_per_execution` and `jit_compile` that an expert would try, by backend: as they come, first."""


def main() -> int:
    """Serve rounds until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m engine.tools.bench_fit")
    parser.add_argument("--data", nargs="+", default=[])
    parser.add_argument("--layout", default="", help="the order of the images' axes, such as NHWC")
    parser.add_argument("--hidden", default="0", help="such as 256 or 1024,256; 0 is the linear network")
    parser.add_argument("--backend", choices=list(OPTIONS), default="tensorflow")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--sees-gpu", action="store_true", help="print whether TensorFlow sees a GPU, and end")
    given = parser.parse_args()
    platforms = os.environ.get("JAX_PLATFORMS", "")
    backends.clear_environment()
    if given.sees_gpu:
        return _report_gpu_of_tensorflow()
    if given.backend == "jax":
        os.environ["JAX_PLATFORMS"] = platforms  # which was given by the benchmark
        backends.prepare_jax()
    else:
        backends.prepare_tensorflow(3)
    images, _ = dataset.load_from([Path(path) for path in given.data], given.layout)
    hidden = tuple(int(units) for units in given.hidden.split(",") if int(units))
    network = Network(hidden, "relu" if hidden else "linear")
    choices = OPTIONS[given.backend]
    options = _best_options(network, images, choices) if given.tuned else choices[0]
    (backends.settle_jax if given.backend == "jax" else backends.settle_tensorflow)()
    _fit(network, images, options, is_plain=options == choices[0])
    return 0


def _report_gpu_of_tensorflow() -> int:
    backends.prepare_tensorflow(3)
    try:
        import tensorflow as tf
    except ImportError:
        print("false")
        return 0
    print(json.dumps(bool(tf.config.list_physical_devices("GPU"))))
    return 0


def _model(network: Network, images: Images, options: tuple[int, bool]) -> Any:
    from engine.training import models

    model = models.build(network, images.shape, softmax=True, seed=0)
    steps, jit = options
    model.compile(
        loss=models.LOSS,
        metrics=[models.METRIC],
        optimizer=models.optimizer_of(Training()),
        steps_per_execution=steps,
        jit_compile=jit,
    )
    return model


def _best_options(network: Network, images: Images, choices: Sequence[tuple[int, bool]]) -> tuple[int, bool]:
    """Try each option on some batches, warmed up, and return the fastest."""
    import keras

    count = TRIAL_BATCHES * 32
    pixels = images.train_images[:count]
    labels = keras.utils.to_categorical(images.train_labels[:count], images.shape.classes)
    seconds = {}
    for options in choices:
        model = _model(network, images, options)
        model.fit(pixels, labels, batch_size=32, epochs=1, verbose=0)
        began = time.perf_counter()
        model.fit(pixels, labels, batch_size=32, epochs=1, verbose=0)
        seconds[options] = time.perf_counter() - began
    return min(seconds, key=seconds.__getitem__)


def _fit(network: Network, images: Images, options: tuple[int, bool], *, is_plain: bool) -> None:
    import keras

    class Rounds(keras.callbacks.Callback):
        """Waits between rounds inside the one `fit` call."""

        def __init__(self) -> None:
            super().__init__()
            self.left, self.seconds = WARM_EPOCHS[keras.backend.backend()], list[float]()
            self.is_warm = False

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            if self.left == 0:
                self._report()
                order = sys.stdin.readline().split()
                if not order:
                    raise SystemExit(0)
                self.left, self.seconds = int(order[1]), []
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.seconds.append(time.perf_counter() - self.began)
            self.left -= 1

        def _report(self) -> None:
            answer = {"seconds": self.seconds, "options": options} if self.is_warm else "ready"
            self.is_warm = True
            print(json.dumps(answer), flush=True)

    train, test = (
        keras.utils.to_categorical(labels, images.shape.classes) for labels in (images.train_labels, images.test_labels)
    )
    _model(network, images, options).fit(
        images.train_images.astype("float32"),
        train,
        batch_size=32,
        epochs=1_000_000,
        validation_data=(images.test_images.astype("float32"), test),
        validation_batch_size=32 if is_plain else 500,
        verbose=0,
        callbacks=[Rounds()],
    )


if __name__ == "__main__":
    raise SystemExit(main())
