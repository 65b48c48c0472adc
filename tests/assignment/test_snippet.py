"""The code that is handed in makes the very network that is trained, whatever a network can have."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from engine.core.data_shape import ASSIGNMENT, DataShape
from engine.core.layers import layers_of, shape_problem, trainable_parameters
from engine.core.spec import Activation, Configuration, Convolution, Initializer, Network, Optimizer, Training
from engine.tools.model_checks import model_checks
from engine.training import models
from svhn_tui import presets
from svhn_tui.assignment.keras_code import code_for

CODED: dict[str, Configuration] = {
    **{f"optimizer {name}": Configuration(training=Training(optimizer=name, learning_rate=1.23456789e-4))
       for name in get_args(Optimizer)},
    **{f"activation {name}": Configuration(Network((6,), name)) for name in get_args(Activation)},
    **{f"initializer {name}": Configuration(Network((6,), "relu", name, name)) for name in get_args(Initializer)},
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
    code, names = code_for(configuration, shape), {}
    assert code.startswith("from tensorflow import keras\n")
    exec(code.replace("from tensorflow import", "import", 1), names)
    coded = names["model"]
    trained = models.build(configuration.network, shape, softmax=True, seed=0)
    models.compile_as_asked(trained, configuration.training)
    assert [check for check in model_checks(coded, configuration, shape) if check.ok is not True] == []
    assert coded.count_params() == trained.count_params()
    weights = sum(int(np.prod(variable.shape)) for variable in trained.trainable_variables)
    assert trainable_parameters(configuration.network, shape) == weights
    assert [layer.kind for layer in layers_of(configuration.network, shape.classes)] == [
        type(layer).__name__ for layer in coded.layers
    ]
    assert coded.optimizer.get_config() == trained.optimizer.get_config()
    said, expected = coded.get_compile_config(), trained.get_compile_config()
    assert {key: said[key] for key in ("loss", "metrics")} == {key: expected[key] for key in ("loss", "metrics")}


def test_every_code_question_of_the_assignment_has_code_that_is_right():
    book = presets.load(presets.find(Path("nowhere")))
    for question in (question for question in book.questions if question.kind == "code"):
        (configuration,) = book.configurations(question)
        names: dict[str, Any] = {}
        exec(code_for(configuration, ASSIGNMENT).replace("from tensorflow import", "import", 1), names)
        assert all(check.ok for check in model_checks(names["model"], configuration, ASSIGNMENT))
