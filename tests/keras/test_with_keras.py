"""The recorder in a script as people write them, with Keras on TensorFlow and on JAX; the host is killed meanwhile."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.storage import journal
from engine.storage.run_folder import RunFolder
from tests.support.bridge import Bridge

SCRIPT = """
import json, os, signal, sys
from svhn_tui.keras import Recorder
import numpy as np
import keras
from engine.storage import lock_file
from pathlib import Path

workspace, is_tf_keras = Path(sys.argv[1]), sys.argv[2] == "tf.keras"
if is_tf_keras:
    import tensorflow as tf
    keras = tf.keras
keras.utils.set_random_seed(1)
x, y = np.random.rand(96, 8, 8, 1), np.random.randint(0, 3, 96)

def kill_host(epoch, logs):
    if epoch == 1 and (host := lock_file.read(workspace).pid):
        os.kill(host, signal.SIGKILL)

model = keras.Sequential([
    keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax"),
])
rate = keras.optimizers.schedules.ExponentialDecay(1e-2, 3, 0.5)
model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy",
              metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_2")])
recorder = Recorder("small", workspace=workspace, seed=1, tags=["notebook"], settings={"batch_size": 16})
fitted = model.fit(x, y, batch_size=16, epochs=4, validation_split=0.25, verbose=0,
                   callbacks=[recorder, keras.callbacks.LambdaCallback(on_epoch_end=kill_host)])
assert recorder.wait()
fitted.history["learning_rate"] = [float(rate(5 * epoch)) for epoch in range(1, 5)]
print(json.dumps({"history": fitted.history, "parameters": model.count_params()}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kind"), [("jax", "keras"), ("tensorflow", "tf.keras")])
def test_a_script_is_recorded_as_keras_saw_it(backend: str, kind: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "w"), kind], capture_output=True, check=True,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    printed = json.loads(done.stdout.splitlines()[-1])
    with Bridge(tmp_path / "w", begins=False) as bridge:
        bridge.until(lambda state, event: bool(state.results))
        (result,) = bridge.state.results.values()
    rows = journal.history(tmp_path / "w" / "runs" / result.run_id / "journal.jsonl")[0].rows
    read = {
        "loss": [row.loss for row in rows],
        "accuracy": [row.accuracy for row in rows],
        "val_loss": [row.test_loss for row in rows],
        "val_accuracy": [row.test_accuracy for row in rows],
        **{name: [dict(row.logged)[name] for row in rows] for name, _ in rows[0].logged},
    }
    assert read == printed["history"]
    assert result.trainable_parameters == printed["parameters"]
    settings = dict(result.spec.configuration.recorded.settings)
    assert (settings["optimizer"], settings["batch_size"]) == ("adam", "16")
    assert [name for name, _ in result.logged] == ["top_2", "val_top_2"]
    assert settings["layers"] == "Conv2D 4, Flatten, Dense 3"
    assert settings["loss_function"] == "sparse_categorical_crossentropy"
    assert result.device == f"Keras on {backend}"
    assert set(result.versions) >= {"keras", backend}
    assert list(RunFolder(tmp_path / "w", result.run_id).problems()) == []
