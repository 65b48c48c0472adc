"""The code that is handed in makes the very network that is trained, whatever a network can have."""

from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

from engine.core.compilation import batches_of
from engine.core.data_shape import ASSIGNMENT, DataShape
from engine.core.layers import layers_of, shape_problem, trainable_parameters
from engine.core.spec import Activation, Configuration, Convolution, Initializer, Network, Optimizer, Training
from engine.tools.model_checks import model_checks
from engine.training import models
from svhn_tui import preset_file
from svhn_tui.assignment.keras_code import code_for

SET: dict[str, dict[str, Any]] = {
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "clipnorm": 1.0},
    "rmsprop": {"optimizer": "rmsprop", "rho": 0.8, "centered": True, "momentum": 0.1, "global_clipnorm": 1.0},
    "adam": {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4, "amsgrad": True, "clipvalue": 0.5},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01},
    "cosine": {"schedule": "cosine", "alpha": 0.1},
    "cosine after a warm-up": {"schedule": "cosine", "warmup_epochs": 5},
    "warm-up": {"warmup_epochs": 5},
    "step": {"schedule": "step", "decay_epochs": 3, "decay_rate": 0.5},
    "exponential": {"schedule": "exponential", "decay_rate": 0.9},
    "label smoothing": {"label_smoothing": 0.1},
    "top k": {"metrics": ("top_k_categorical_accuracy",)},
    "fit": {"class_weight": (1.0, 2.0), "patience": 3, "validation_split": 0.1},
}
"""Options of training; those of `fit` change nothing of what is compiled."""
IMAGES = 1_000
CODED: dict[str, Configuration] = {
    **{f"optimizer {name}": Configuration(training=Training(optimizer=name, learning_rate=1.23456789e-4))
       for name in get_args(Optimizer)},
    **{f"activation {name}": Configuration(Network((6,), name)) for name in get_args(Activation)},
    **{f"initializer {name}": Configuration(Network((6,), "relu", name, name)) for name in get_args(Initializer)},
    **{f"training {name}": Configuration(Network((6,), "relu"), Training(**fields)) for name, fields in SET.items()},
    "convolutions": Configuration(
        Network((6,), "relu", convolutions=(Convolution(3), Convolution(4, 5, 2, "valid", 2)))
    ),
    "convolutions alone": Configuration(Network(activation="tanh", convolutions=(Convolution(3, pool=2),))),
    "dropout": Configuration(Network((6, 5), "relu", dropout=0.25)),
    "batch normalization": Configuration(Network((6, 5), "relu", batch_normalization=True)),
    "scaled pixels": Configuration(Network((6,), "relu", input_scaling=1 / 255)),
    "all at once": Configuration(
        Network((6, 5, 4), "gelu", "he_normal", "zeros", (Convolution(3, pool=2),), 0.1, True, 1 / 255),
        Training(optimizer="nadam", learning_rate=1e-3),
    ),
}  # fmt: skip
"""Everything that a network and an optimizer in experiments.json can have."""


@pytest.mark.parametrize(
    "shape", [ASSIGNMENT, DataShape((1, 28, 26), 7), DataShape((13,), 2)], ids=["svhn", "others", "features"]
)
@pytest.mark.parametrize("what", CODED)
def test_code_makes_what_is_trained(what: str, shape: DataShape):
    configuration = CODED[what]
    if len(shape.inputs) == 1 and configuration.network.convolutions:
        assert "they need images" in shape_problem(configuration.network, shape)
        return
    batches = batches_of(configuration.training, IMAGES)
    code, names = code_for(configuration, shape, IMAGES), {}
    assert code.startswith("from tensorflow import keras\n")
    exec(code.replace("from tensorflow import", "import", 1), names)
    coded = names["model"]
    trained = models.build(configuration.network, shape, softmax=True, seed=0)
    models.compile_as_asked(trained, configuration.training, batches)
    assert [check for check in model_checks(coded, configuration, shape, batches) if check.ok is not True] == []
    assert coded.count_params() == trained.count_params()
    weights = sum(int(np.prod(variable.shape)) for variable in trained.trainable_variables)
    assert trainable_parameters(configuration.network, shape) == weights
    assert [layer.kind for layer in layers_of(configuration.network, shape.classes)] == [
        type(layer).__name__ for layer in coded.layers
    ]
    assert coded.optimizer.get_config() == trained.optimizer.get_config()
    actual, expected = coded.get_compile_config(), trained.get_compile_config()
    assert {key: actual[key] for key in ("loss", "metrics")} == {key: expected[key] for key in ("loss", "metrics")}


@pytest.mark.parametrize("what", SET)
def test_what_is_trained_otherwise_is_told_apart(what: str):
    """Whatever is compiled with an option is not taken for what is compiled without it, nor the other way round."""
    one, plain = CODED[f"training {what}"], Training(optimizer=CODED[f"training {what}"].training.optimizer)
    other = msgspec.structs.replace(one, training=plain)
    for made, asked in ((one, other), (other, one)):
        model = models.build(made.network, ASSIGNMENT, softmax=True, seed=0)
        models.compile_as_asked(model, made.training, batches_of(made.training, IMAGES))
        wrong = [
            check.name
            for check in model_checks(model, asked, ASSIGNMENT, batches_of(asked.training, IMAGES))
            if check.ok is False
        ]
        expected = {"label smoothing": {"loss"}, "top k": {"metric"}, "fit": set()}
        rate = (
            {"learning rate"} if made.training.schedule != asked.training.schedule or "warm" in what else {"optimizer"}
        )
        if what == "top k" and made is one:
            assert wrong == [], "more metrics than are asked do no harm"
        else:
            assert set(wrong) == expected.get(what, rate)


def test_a_schedule_needs_the_number_of_images():
    with pytest.raises(ValueError, match="needs the number of batches"):
        code_for(Configuration(training=Training(schedule="cosine")), ASSIGNMENT)


def test_every_code_question_of_the_assignment_has_code_that_is_right():
    book = preset_file.load(preset_file.find(Path("nowhere")))
    for question in (question for question in book.questions if question.kind == "code"):
        (configuration,) = book.configurations(question)
        names: dict[str, Any] = {}
        exec(code_for(configuration, ASSIGNMENT).replace("from tensorflow import", "import", 1), names)
        assert all(check.ok for check in model_checks(names["model"], configuration, ASSIGNMENT))
