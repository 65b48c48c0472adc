"""The baseline that a user would have: Keras's own `fit` on JAX on this device, validation included."""

import time
from typing import Any

from tests.gpu.children import BEGAN, result_of, start_child
from tests.gpu.common import NETWORKS, SHAPE, drawn
from tests.gpu.kit import Kit, Results

RESERVED = 0.26
"""Of the time, the share that is kept for the program itself and the variants."""
STEPS = {"64": (1, 50), "256": (1, 50)}
"""Values of `steps_per_execution`; of any other network 1."""


def fit(kit: Kit, held: Results) -> None:
    """Time two epochs of each network."""
    train, test = kit.timed
    for name in ("linear",) if kit.small else NETWORKS:
        for steps in STEPS.get(name, (1,)):
            if kit.left() < (15 if kit.small else RESERVED * kit.total):
                held.setdefault("not_timed", []).append(name)
                continue
            given = {"train": train, "test": test, "hidden": NETWORKS[name], "epochs": 2, "steps": steps, "limit": 40}
            child = start_child("fit", given, {"XLA_FLAGS": ""})  # as a user would have it
            held[f"{name} steps_per_execution={steps}"] = result_of(child, min(60, kit.left()))
            kit.write()


def fitted(given: Results) -> Results:
    """In a child: fit as the assignment writes it, on whatever device JAX takes."""
    import keras
    import numpy as np

    from engine.core.spec import Network, Training
    from engine.training import models

    images, hidden = drawn(given["train"], given["test"]), tuple(given["hidden"])
    model = models.build(Network(hidden, "relu" if hidden else "linear"), SHAPE, softmax=True, seed=0)
    model.compile(loss=models.LOSS, metrics=[models.METRIC], optimizer=models.optimizer_of(Training()),
                  steps_per_execution=given["steps"])  # fmt: skip
    hot = np.eye(10, dtype=np.float32)
    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.began)
            self.model.stop_training = time.monotonic() - BEGAN > given["limit"]

    tested = images.test_images.astype(np.float32), hot[images.test_labels]
    model.fit(images.train_images.astype(np.float32), hot[images.train_labels], batch_size=32, epochs=given["epochs"],
              validation_data=tested, verbose=0, callbacks=[Clock()])  # fmt: skip
    batches = -(-given["train"] // 32)
    return {"epoch_s": [round(some, 3) for some in seconds],
            "us_per_batch": round(1e6 * min(seconds[1:] or seconds) / batches, 1)}  # fmt: skip
