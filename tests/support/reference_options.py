"""Trains with plain Keras `fit` and its own callbacks what code and settings say; run by tests, on TensorFlow."""

import json
import sys
from pathlib import Path

import keras
import numpy as np

folder = Path(sys.argv[1])
asked, given = json.loads((folder / "asked.json").read_text()), np.load(folder / "given.npz")
hot = np.eye(asked["classes"], dtype=np.float32)
pixels, labels = given["train"].astype(np.float32), hot[given["labels"]]
test, test_labels = given["test"].astype(np.float32), hot[given["test_labels"]]
found: dict[str, object] = {}
for name, one in asked["runs"].items():
    names: dict[str, keras.Model] = {}
    exec(one["code"], names)
    model = names["model"]
    model.set_weights([given[f"{name}-weight-{index}"] for index in range(len(model.weights))])
    history = model.fit(
        pixels,
        labels,
        epochs=one["epochs"],
        batch_size=one["batch_size"],
        validation_split=one["validation_split"],
        class_weight=dict(enumerate(one["class_weight"])) or None,
        callbacks=[keras.callbacks.EarlyStopping(**one["early_stopping"])] if one["early_stopping"] else [],
        shuffle=False,
        verbose=0,
    ).history
    found |= {f"{name}-weight-{index}": np.asarray(value) for index, value in enumerate(model.get_weights())}
    found |= {f"{name}-{metric}": np.array(values) for metric, values in history.items()}
    tested = model.evaluate(test, test_labels, batch_size=500, verbose=0, return_dict=True)
    found |= {f"{name}-test-{metric}": value for metric, value in tested.items()}
np.savez(folder / "found.npz", **found)
