"""Trains as the assignment writes it, with plain Keras `fit`, from given weights in a given order; run by tests.

Each argument is a folder with one configuration.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np


def fit(folder: Path) -> None:
    """Train what `asked.json` asks for on the arrays of `given.npz`; write `arrays.npz`."""
    asked, given = json.loads((folder / "asked.json").read_text()), np.load(folder / "given.npz")
    pixels, labels = given["train"], keras.utils.to_categorical(given["labels"], 10)
    arrays: dict[str, object] = {}
    dense = [keras.layers.Dense(units, activation=asked["activation"]) for units in asked["hidden"]]
    inputs, outputs = keras.Input(pixels.shape[1:]), keras.layers.Dense(10, activation="softmax")
    model = keras.Sequential([inputs, keras.layers.Flatten(), *dense, outputs])
    model.compile(
        loss="categorical_crossentropy",
        optimizer=keras.optimizers.Adam(learning_rate=1e-5),
        metrics=["categorical_accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    fresh = [np.asarray(variable) for variable in model.optimizer.variables]
    for seed in asked["seeds"]:
        for variable, value in zip(model.optimizer.variables, fresh, strict=True):  # as compiled anew, but traced once
            variable.assign(value)
        model.set_weights([given[f"weight-{seed}-{index}"] for index in range(len(model.weights))])
        histories = []
        for epoch in range(asked["epochs"]):
            order = given[f"order-{seed}-{epoch}"]
            histories.append(model.fit(pixels[order], labels[order], batch_size=32, shuffle=False, verbose=0).history)
        arrays |= {f"weight-{seed}-{index}": np.asarray(value) for index, value in enumerate(model.get_weights())}
        arrays[f"loss-{seed}"] = [history["loss"][0] for history in histories]
        arrays[f"accuracy-{seed}"] = [history["categorical_accuracy"][0] for history in histories]
        predicted = np.asarray(model(given["test"], training=False)).argmax(axis=-1)
        arrays[f"test-{seed}"] = float((predicted == given["test_labels"]).mean())
    np.savez(folder / "arrays.npz", **arrays)


for argument in sys.argv[1:]:
    fit(Path(argument))
