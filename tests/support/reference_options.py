"""Trains with plain Keras `fit` and its own callbacks what code and settings say, then some of it as our worker does.

Run by tests, on TensorFlow.
"""

import json
import sys
from pathlib import Path

import keras
import msgspec
import numpy as np

from engine.core.results import EpochRow
from engine.core.spec import RunSpec
from engine.data.images import Images
from engine.training import keras_trainer
from engine.training.early_stopping import epoch_of_weights, is_over

folder = Path(sys.argv[1])
asked, given = json.loads((folder / "asked.json").read_text()), np.load(folder / "given.npz")
hot = np.eye(asked["classes"], dtype=np.float32)
pixels, labels = given["train"].astype(np.float32), hot[given["labels"]]
test, test_labels = given["test"].astype(np.float32), hot[given["test_labels"]]
arrays: dict[str, object] = {}
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
    arrays |= {f"{name}-weight-{index}": np.asarray(value) for index, value in enumerate(model.get_weights())}
    arrays |= {f"{name}-{metric}": np.array(values) for metric, values in history.items()}
    tested = model.evaluate(test, test_labels, batch_size=500, verbose=0, return_dict=True)
    arrays |= {f"{name}-test-{metric}": value for metric, value in tested.items()}

keras_trainer.order_of = lambda seed, epoch, images: np.arange(images, dtype=np.int32)
images = Images(given["train"], given["labels"], given["test"], given["test_labels"], tuple(asked["names"]))
for name in asked["as_worker"]:
    spec = msgspec.convert(asked["specs"][name], RunSpec)
    training = spec.configuration.training
    group = keras_trainer.KerasFitTrainer().group([spec], images, [None])
    group._model.set_weights([given[f"{name}-weight-{index}"] for index in range(len(group._model.weights))])
    rows: list[EpochRow] = []
    while not is_over(training, rows):
        rows += group.train_epoch()
        if training.restore_best_weights and epoch_of_weights(training, rows) == len(rows):
            group.copy_best(0)
    group.finish(0)
    arrays |= {f"{name}-worker-{index}": np.asarray(value) for index, value in enumerate(group._model.get_weights())}
    arrays[f"{name}-worker-rows"] = np.frombuffer(msgspec.json.encode(rows), np.uint8)
np.savez(folder / "arrays.npz", **arrays)
