"""Networks as people write them in Keras: ways that are right, and ways that are not as asked, with what is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
from keras import layers

from engine.core.data_shape import ASSIGNMENT
from engine.core.spec import Configuration, Network, Training
from engine.tools.comparison import text_of
from engine.tools.verification import Requirement
from engine.training import models
from tests.support.scenes import DATA

ASKED = Requirement(Configuration(Network((8,), "relu"), Training(epochs=2)), limit_mib=1)
SMALL = msgspec.structs.replace(DATA, train_images=64, input_shape=(3, 32, 32))
BATCHES = 4
IMAGE = (3, 32, 32)
Model = Any


def normal(**settings: Any) -> Any:
    return keras.initializers.RandomNormal(**settings)


def dense(units: int, activation: Any = None, **settings: Any) -> Any:
    given = {"kernel_initializer": "random_normal", "bias_initializer": "random_normal", **settings}
    return layers.Dense(units, activation=activation, **given)


def chain(*middle: Any, output: Any = None, first: Any = None) -> Model:
    """The network that is asked for, with other layers in the middle, another input or another output."""
    start = keras.Input(IMAGE) if first is None else first
    inner = middle or (layers.Flatten(), dense(8, "relu"))
    return keras.Sequential([start, *inner, output or dense(10, "softmax")])


def adam(**settings: Any) -> Any:
    return keras.optimizers.Adam(**{"learning_rate": 1e-5, **settings})


def compiled(model: Model, *, batches: int = BATCHES, **settings: Any) -> Model:
    """Compile a model, as asked but for these settings, and let its optimizer have counted so many batches."""
    asked = {"loss": "categorical_crossentropy", "metrics": ["categorical_accuracy"], "optimizer": adam()}
    model.compile(**{**asked, **settings})
    model.optimizer.build(model.trainable_variables)
    model.optimizer.variables[0].assign(batches)
    return model


def functional(*middle: Any) -> Model:
    pixels = keras.Input(IMAGE)
    value = pixels
    for layer in middle or (layers.Flatten(), dense(8, "relu"), dense(10, "softmax")):
        value = layer(value)
    return keras.Model(pixels, value)


def built(model: Model) -> Model:
    model.build()
    return model


def without_input() -> Model:
    model = keras.Sequential([layers.Flatten(), dense(8, "relu"), dense(10, "softmax")])
    model.build((32, *IMAGE))
    return model


def trained(tmp: Path) -> Model:
    """Really fitted, evaluated, and written by ModelCheckpoint."""
    model = chain()
    model.compile(loss="categorical_crossentropy", metrics=["categorical_accuracy"], optimizer=adam())
    images, labels = np.zeros((64, *IMAGE), np.float32), np.eye(10, dtype=np.float32)[np.arange(64) % 10]
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp / "kept.keras"))
    model.fit(images, labels, epochs=2, callbacks=[checkpoint], verbose=0)
    model.evaluate(images, labels, verbose=0)
    return keras.saving.load_model(tmp / "kept.keras")


def frozen() -> Model:
    model = chain()
    model.layers[1].trainable = False
    return model


def mixed(policy: str) -> Model:
    return chain(
        layers.Flatten(dtype=policy), dense(8, "relu", dtype=policy), output=dense(10, "softmax", dtype=policy)
    )


def float_rate() -> Any:
    return adam(learning_rate=np.float64(1e-5))


RIGHT: dict[str, Callable[[Path], Model]] = {
    "as we write it": lambda tmp: compiled(models.build(ASKED.configuration.network, ASSIGNMENT, softmax=True, seed=1)),
    "without Input": lambda tmp: compiled(without_input()),
    "built again": lambda tmp: compiled(built(chain())),
    "an InputLayer": lambda tmp: compiled(chain(first=layers.InputLayer(shape=IMAGE))),
    "a batch size in the input": lambda tmp: compiled(chain(first=layers.InputLayer(batch_shape=(32, *IMAGE)))),
    "input_shape of Flatten": lambda tmp: compiled(
        keras.Sequential([layers.Flatten(input_shape=IMAGE), dense(8, "relu"), dense(10, "softmax")])
    ),
    "initializers as objects with seeds": lambda tmp: compiled(
        chain(layers.Flatten(), dense(8, "relu", kernel_initializer=normal(seed=7), bias_initializer=normal()))
    ),
    "initializers by the class's name": lambda tmp: compiled(
        chain(layers.Flatten(), dense(8, "relu", kernel_initializer="RandomNormal"))
    ),
    "activations as functions": lambda tmp: compiled(
        chain(layers.Flatten(), dense(8, keras.activations.relu), output=dense(10, keras.activations.softmax))
    ),
    "an activation as an object": lambda tmp: compiled(
        chain(layers.Flatten(), dense(8, keras.activations.get("relu")), output=dense(10, keras.layers.Softmax()))
    ),
    "custom names": lambda tmp: compiled(
        chain(layers.Flatten(name="flat"), dense(8, "relu", name="my-own_layer"), output=dense(10, "softmax", name="o"))
    ),
    "metrics=['accuracy']": lambda tmp: compiled(chain(), metrics=["accuracy"]),
    "metrics as objects": lambda tmp: compiled(chain(), metrics=[keras.metrics.CategoricalAccuracy(name="acc")]),
    "metrics as functions": lambda tmp: compiled(chain(), metrics=[keras.metrics.categorical_accuracy]),
    "more metrics": lambda tmp: compiled(
        chain(), metrics=["categorical_accuracy", keras.metrics.TopKCategoricalAccuracy(3)]
    ),
    "loss as an object": lambda tmp: compiled(chain(), loss=keras.losses.CategoricalCrossentropy()),
    "loss as a function": lambda tmp: compiled(chain(), loss=keras.losses.categorical_crossentropy),
    "loss by the class's name": lambda tmp: compiled(chain(), loss="CategoricalCrossentropy"),
    "a learning rate of NumPy's": lambda tmp: compiled(chain(), optimizer=float_rate()),
    "run eagerly": lambda tmp: compiled(chain(), run_eagerly=True),
    "Functional": lambda tmp: compiled(functional()),
    "Functional around a Sequential": lambda tmp: compiled(
        functional(keras.Sequential([layers.Flatten(), dense(8, "relu")]), dense(10, "softmax"))
    ),
    "Sequential in a Sequential": lambda tmp: compiled(chain(keras.Sequential([layers.Flatten(), dense(8, "relu")]))),
    "Activation as a layer": lambda tmp: compiled(chain(layers.Flatten(), dense(8), layers.Activation("relu"))),
    "ReLU and softmax as layers": lambda tmp: compiled(
        keras.Sequential([keras.Input(IMAGE), layers.Flatten(), dense(8), layers.ReLU(), dense(10), layers.Softmax()])
    ),
    "fitted, evaluated, kept by ModelCheckpoint, loaded and saved again": trained,
}  # fmt: skip
"""Ways to write and save the network that is asked for."""

LISTED = "Flatten, Dense(8, relu), Dense(10, softmax)"


def listed(layers: str) -> str:
    return f"layers: {layers} instead of {LISTED}"


def of_every_layer(name: str) -> list[str]:
    return [f"setting: {layer}: {name}" for layer in ("Flatten", "Dense(8, relu)", "Dense(10, softmax)")]


def decaying() -> Any:
    return keras.optimizers.schedules.ExponentialDecay(1e-5, 10, 0.9)


WRONG: dict[str, tuple[Callable[[], Model], list[str]]] = {
    "scaled pixels": (
        lambda: compiled(chain(layers.Rescaling(1 / 255), layers.Flatten(), dense(8, "relu"))),
        [listed("Rescaling(0.00392157), Flatten, Dense(8, relu), Dense(10, softmax)")],
    ),
    "dropout": (
        lambda: compiled(chain(layers.Flatten(), dense(8, "relu"), layers.Dropout(0.5))),
        [listed("Flatten, Dense(8, relu), Dropout(0.5), Dense(10, softmax)")],
    ),
    "pixels in another order": (
        lambda: compiled(chain(layers.Permute((2, 3, 1)), layers.Flatten(), dense(8, "relu"))),
        [listed("Permute, Flatten, Dense(8, relu), Dense(10, softmax)")],
    ),
    "pixels flattened in another order": (
        lambda: compiled(chain(layers.Flatten(data_format="channels_first"), dense(8, "relu"))),
        ["setting: Flatten: data_format channels_first instead of channels_last"],
    ),
    "noise": (
        lambda: compiled(chain(layers.Flatten(), layers.GaussianNoise(1.0), dense(8, "relu"))),
        [listed("Flatten, GaussianNoise, Dense(8, relu), Dense(10, softmax)")],
    ),
    "L2": (
        lambda: compiled(chain(layers.Flatten(), dense(8, "relu", kernel_regularizer="l2"))),
        ["setting: Dense(8, relu): kernel_regularizer L2(l2=0.01) instead of none"],
    ),
    "an activity regularizer": (
        lambda: compiled(chain(layers.Flatten(), dense(8, "relu", activity_regularizer="l1"))),
        ["setting: Dense(8, relu): activity_regularizer L1(l1=0.01) instead of none"],
    ),
    "a constraint": (
        lambda: compiled(chain(layers.Flatten(), dense(8, "relu", bias_constraint="non_neg"))),
        ["setting: Dense(8, relu): bias_constraint NonNeg() instead of none"],
    ),
    "other units": (
        lambda: compiled(chain(layers.Flatten(), dense(9, "relu"))),
        ["setting: Dense(9, relu): units 9 instead of 8", "trainable parameters: 27,757 instead of 24,674"],
    ),
    "another activation": (
        lambda: compiled(chain(layers.Flatten(), dense(8, "tanh"))),
        ["setting: Dense(8, tanh): activation tanh instead of relu"],
    ),
    "logits": (
        lambda: compiled(chain(output=dense(10))),
        ["setting: Dense(10): activation linear instead of softmax"],
    ),
    "no bias": (
        lambda: compiled(chain(layers.Flatten(), dense(8, "relu", use_bias=False))),
        ["setting: Dense(8, relu): use_bias False instead of True", "trainable parameters: 24,666 instead of 24,674"],
    ),
    "Keras's own initializers": (
        lambda: compiled(chain(layers.Flatten(), layers.Dense(8, "relu"))),
        ["setting: Dense(8, relu): bias_initializer Zeros() instead of RandomNormal(mean=0, stddev=0.05)",
         "setting: Dense(8, relu): kernel_initializer GlorotUniform() instead of RandomNormal(mean=0, stddev=0.05)"],
    ),
    "another spread": (
        lambda: compiled(chain(layers.Flatten(), dense(8, "relu", bias_initializer=normal(stddev=0.01, mean=1)))),
        ["setting: Dense(8, relu): bias_initializer.mean 1 instead of 0",
         "setting: Dense(8, relu): bias_initializer.stddev 0.01 instead of 0.05"],
    ),
    "a frozen layer": (
        lambda: compiled(frozen()),
        ["setting: Dense(8, relu): trainable False instead of True", "trainable parameters: 90 instead of 24,674"],
    ),
    "half precision": (
        lambda: compiled(mixed("float16")),
        of_every_layer("dtype float16 instead of float32"),
    ),
    "mixed precision": (
        lambda: compiled(mixed("mixed_float16")),
        of_every_layer("dtype mixed_float16 instead of float32"),
    ),
    "double precision": (
        lambda: compiled(chain(layers.Flatten(), dense(8, "relu", dtype="float64"))),
        ["setting: Dense(8, relu): dtype float64 instead of float32"],
    ),
    "optimizer='adam'": (
        lambda: compiled(chain(), optimizer="adam"), ["learning rate: 0.001 instead of 1e-05"],
    ),
    "a schedule": (
        lambda: compiled(chain(), optimizer=adam(learning_rate=decaying())),
        ["learning rate: ExponentialDecay(...) instead of 1e-05"],
    ),
    "another optimizer": (
        lambda: compiled(chain(), optimizer=keras.optimizers.AdamW(1e-5)), ["optimizer: AdamW instead of Adam"],
    ),
    "another loss": (
        lambda: compiled(chain(), loss="mse"),
        ["loss: mse instead of categorical_crossentropy"],
    ),
    "labels as numbers": (
        lambda: compiled(chain(), loss="sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"]),
        ["loss: sparse_categorical_crossentropy instead of categorical_crossentropy",
         "metric: sparse_categorical_accuracy"],
    ),
    "smoothed labels": (
        lambda: compiled(chain(), loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1)),
        ["loss: label_smoothing 0.1 instead of 0"],
    ),
    "a loss from logits": (
        lambda: compiled(chain(), loss=keras.losses.CategoricalCrossentropy(from_logits=True)),
        ["loss: from_logits True instead of False"],
    ),
    "a weighted loss": (
        lambda: compiled(chain(), loss_weights=[0.5]), ["loss: loss weights [0.5] instead of none"],
    ),
    "no metric": (lambda: compiled(chain(), metrics=None), ["metric: none"]),
    "not compiled": (
        lambda: chain(), ["compiled: no: the file names no loss, metric or optimizer"],
    ),
    "never fitted": (
        lambda: compiled(chain(), batches=0), ["fitted: never, or compiled again since; asked are 2 x 2 = 4"],
    ),
    "fitted half as long": (lambda: compiled(chain(), batches=2), ["fitted: batches: 2; asked are 2 x 2 = 4"]),
    "a Functional one with dropout": (
        lambda: compiled(functional(layers.Flatten(), dense(8, "relu"), layers.Dropout(0.1), dense(10, "softmax"))),
        [listed("Flatten, Dense(8, relu), Dropout(0.1), Dense(10, softmax)")],
    ),
    **{
        f"adam with {name}": (
            lambda name=name, value=value: compiled(chain(), optimizer=adam(**{name: value})),
            [f"optimizer: {name} {text_of(value)} instead of {usual}"],
        )
        for name, value, usual in [
            ("beta_1", 0.5, "0.9"), ("beta_2", 0.9, "0.999"), ("epsilon", 0.1, "1e-07"), ("amsgrad", True, "False"),
            ("weight_decay", 0.1, "none"), ("clipnorm", 1.0, "none"), ("clipvalue", 1.0, "none"),
            ("global_clipnorm", 1.0, "none"), ("use_ema", True, "False"), ("loss_scale_factor", 2.0, "none"),
            ("gradient_accumulation_steps", 2, "none"),
        ]
    },
}  # fmt: skip
"""Networks that are read, and in what they are not as asked."""
