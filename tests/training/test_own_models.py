"""Own models on the compiled path train what `model.fit` trains, and say what is wrong with them and where."""

import hashlib
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest

from engine.core.data_shape import ASSIGNMENT, DataShape
from engine.core.own_model import Trial
from engine.core.spec import Configuration, Network, OwnModel, RunSpec, Training
from engine.tools import keras_config, own_file
from engine.tools.model_trial import time_limit, tried
from engine.training import model_sources, models, own_models
from engine.training.auto_trainer import AutoTrainer
from engine.training.model_sources import ModelError
from engine.training.shuffling import order_of
from tests.support.own_models import SOURCE, own
from tests.training.test_parity import drawn

model_sources.learn(SOURCE)
SHAPE = ASSIGNMENT
FOREVER = """
def forever(shape, classes):
    while True:
        try:
            len(())
        except Exception:
            pass
"""


@pytest.mark.parametrize("network", [own("residual", width=8, depth=2), own("normalized")], ids=lambda some: some.label)
def test_it_ends_with_the_weights_and_the_state_of_fit(network: Network, tmp_path: Path):
    """Keras's own `fit`, on JAX too so that dropout draws the same numbers; BatchNormalization's means count."""
    images, training = drawn(16 * 32 + 8, 100), Training(epochs=2, learning_rate=1e-3)
    model = models.build(network, SHAPE, softmax=True, seed=3)
    models.compile_as_asked(model, training)
    labels = keras.utils.to_categorical(images.train_labels, 10)
    for epoch in range(training.epochs):
        order = order_of(3, epoch, len(labels))
        pixels = images.train_images[order].astype(np.float32)
        history = model.fit(pixels, labels[order], batch_size=32, shuffle=False, verbose=0).history
    group = AutoTrainer().group([RunSpec(Configuration(network, training), 3, "data")], images, [None])
    rows = [group.train_epoch()[0] for _ in range(training.epochs)]
    assert group.trainer.name == "jax"
    assert rows[-1].loss == pytest.approx(history["loss"][0], rel=1e-5)
    path = tmp_path / "model.keras"
    group.finish(0).save(path, SHAPE)
    trained = models.build(network, SHAPE, softmax=True, seed=0)
    trained.load_weights(path)
    for variable, value in zip(model.weights, trained.weights, strict=True):
        np.testing.assert_allclose(np.asarray(value), np.asarray(variable), atol=2e-6, rtol=1e-5)


def test_a_seed_draws_the_weights_of_set_random_seed():
    keras.utils.set_random_seed(5)
    theirs = own_models.build(own("residual").model, SHAPE, seed=5).get_weights()
    ours = models.build(own("residual"), SHAPE, softmax=False, seed=5).get_weights()
    others = models.build(own("residual"), SHAPE, softmax=False, seed=6).get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(theirs, ours, strict=True))
    assert not np.array_equal(ours[0], others[0])


def trial_of(build: str, source: str = SOURCE) -> Trial:
    model = own(build).model
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    return Trial(msgspec.structs.replace(model, sha256=sha256), DataShape((3, 8, 8), 10), source)


@pytest.mark.parametrize(
    ("build", "parameters", "refusal"),
    [
        ("residual", 192 * 16 + 16 + 16 * 16 + 16 + 1 + 170, ""),
        ("normalized", 192 * 16 + 32 + 170, ""),
        ("counting", 1_930, "its layers do something else each time that they are called"),
        ("regularized", 1_930, "its layers add losses of their own"),
        ("subclassed", 1_930, "Subclassed is a class of its own, which may train in its own way"),
    ],
)
def test_trying_tells_what_compiles(build: str, parameters: int, refusal: str):
    facts = tried(trial_of(build), "jax")
    assert (facts.parameters, facts.refusal) == (parameters, refusal)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("broken", "model.py, line 104, in _deeper: ValueError: width 3 is not even\n  line 100, in broken: return"),
        ("no_model", "no_model in model.py returns list, and has to return a keras.Model."),
        ("wrong_shape", "gives (None, 11) numbers; (None, 10) are asked"),
        ("no_softmax", "not probabilities; end it with a softmax"),
        ("nobody", "model.py has no function 'nobody'."),
        ("tensorflow_only", "model.py, line 34, in call: "),
        ("two_outputs", "two_outputs in model.py returns a model with several outputs; one of 10 numbers is asked."),
        ("two_inputs", "returns a model for (3, 8, 8), (3, 8, 8); the images are (3, 8, 8)."),
        ("of_a_lambda", "which Keras does not load from a file; use a layer of Keras's, such as Rescaling"),
        ("leaving", "model.py, line "),
        ("neighbour", "(a model file stands alone: what it uses of yours has to be in it)"),
    ],
)
def test_what_fails_says_where(build: str, message: str):
    with pytest.raises(ModelError) as error:
        tried(trial_of(build), "jax")
    assert message in str(error.value)
    with pytest.raises(ModelError) as named:
        tried(msgspec.structs.replace(trial_of(build), name="mine.py"), "jax")
    assert "model.py" not in str(named.value)
    assert ("mine.py" in str(named.value)) == ("model.py" in str(error.value))


def test_a_syntax_error_names_its_line():
    with pytest.raises(ModelError, match=r"model.py, line 2: SyntaxError: .*\n  line 2: def f\(:"):
        tried(trial_of("f", "import keras\ndef f(:\n"), "jax")


def test_a_model_that_is_never_built_says_at_which_line_it_is():
    model_sources.learn(FOREVER, "mine.py")
    asked = OwnModel(hashlib.sha256(FOREVER.encode()).hexdigest(), "forever")
    with (
        pytest.raises(ModelError, match=r"^mine.py, line \d, in forever: its model is not built after 1 s\n"),
        time_limit(1),
    ):
        own_models.build(asked, SHAPE, seed=0)


def test_a_byte_order_mark_is_no_part_of_the_program():
    source = "\ufeff" + SOURCE
    model = own("residual").model
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    model_sources.learn(source)
    built = own_models.build(msgspec.structs.replace(model, sha256=sha256), SHAPE, seed=0)
    assert built.count_params() == own_models.build(model, SHAPE, seed=0).count_params()


def test_a_file_that_holds_anything_else_is_not_loaded():
    """The names of layers may differ; a class, a size or a function may not."""
    network = own("residual")
    model, again = (own_models.build(network.model, SHAPE, seed=seed) for seed in (0, 1))
    check = own_file.same_as(model, network.model)
    config = keras.saving.serialize_keras_object(again)
    assert check(config).weights == model.count_params()
    layers = config["config"]["layers"]
    scale = next(layer for layer in layers if layer["class_name"] == "Scale")
    for key, value in (("class_name", "Popen"), ("module", "subprocess"), ("registered_name", "os>system")):
        before, scale[key] = scale[key], value
        with pytest.raises(keras_config.ConfigError, match="is not what residual"):
            check(config)
        scale[key] = before
    check(config)
