"""Tries an own model before it is trained: whether it can be built, its size, and whether it compiles on JAX.

`python -m engine.tools.model_trial BACKEND SECONDS` reads a `Trial` from standard input and writes `ModelFacts`. A
process of its own, since it runs a file of the user's.
"""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.own_model import ModelFacts, Trial
from engine.machine import backends, card
from engine.training import model_sources
from engine.training.model_sources import ModelError, TooSlow, name_of

if TYPE_CHECKING:
    import keras

IMAGES = 4
AGAIN_SECONDS = 5
ADDRESS = re.compile(r"0x[0-9a-f]+")


def tried(trial: Trial, backend: str) -> ModelFacts:
    """Build the model and apply it to a few images.

    Raises:
        ModelError: it cannot be used.
    """
    import keras
    import numpy as np

    from engine.training import own_models

    model_sources.learn(trial.source, trial.name)
    model = own_models.build(trial.model, trial.shape, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *trial.shape.inputs)).astype(np.float32)
    refusal = ""
    try:
        predicted = np.asarray(model(images, training=False))
        if predicted.shape != (IMAGES, trial.shape.classes):
            raise ModelError(
                f"It gives {predicted.shape} numbers for {IMAGES} images of {trial.shape.classes} classes."
            )
        if (predicted < 0).any() or not np.allclose(predicted.sum(axis=-1), 1, atol=1e-3):
            raise ModelError("Its outputs are not probabilities; end it with a softmax.")
        config = keras.saving.serialize_keras_object(model)
        known = own_models.custom_objects(trial.model, model)
        _load(config, dict(known), trial)
        if backend == "tensorflow":
            _fit(model, images, trial.shape.classes)
        else:
            refusal = _refusal(model, images)
    except ModelError:
        raise
    except (Exception, TooSlow) as error:
        raise own_models.model_error(error, trial.model) from error
    return ModelFacts(sum(int(np.prod(some.shape)) for some in model.trainable_variables), refusal)


def _load(config: Any, known: dict[str, Any], trial: Trial) -> None:
    """Check that the model can be loaded again from a file.

    Raises:
        ModelError: it is one of those that Keras never loads.
    """
    import keras

    try:
        keras.saving.deserialize_keras_object(config, custom_objects=known, safe_mode=True)
    except ValueError as error:
        if "Python lambda" not in str(error):
            raise
        what = f"{trial.model.build} in {name_of(trial.model)} has a Lambda layer of a `lambda`"
        advice = "use a layer of Keras's, such as Rescaling, or a class of your own"
        raise ModelError(f"{what}, which Keras does not load from a file; {advice}.") from error


def _fit(model: "keras.Model", images: Any, classes: int) -> None:
    import numpy as np

    from engine.core.spec import Training
    from engine.training import models

    models.compile_as_asked(model, Training())
    model.train_on_batch(images, np.eye(classes, dtype=np.float32)[np.arange(len(images)) % classes])


def _refusal(model: "keras.Model", images: Any) -> str:
    """Say why JAX cannot compile its training, without a full stop; empty when it can."""
    import jax
    import jax.numpy as jnp

    from engine.training import own_models

    if model.run_eagerly:
        return "it asks for run_eagerly"
    if model.losses:
        return "its layers add losses of their own"
    if any(getattr(some, "constraint", None) is not None for some in model.trainable_variables):
        return "its weights have constraints"
    if any(str(some.dtype) != "float32" for some in model.trainable_variables):
        return "its weights are not all float32"
    parameters = [some.value for some in model.trainable_variables]
    others = [some.value for some in model.non_trainable_variables]

    def step(parameters: list[Any], others: list[Any]) -> tuple[list[Any], list[Any]]:
        def summed(parameters: list[Any]) -> tuple[Any, list[Any]]:
            outputs, after = model.stateless_call(parameters, others, jnp.asarray(images), training=True)
            return outputs.sum(), after

        gradients: tuple[list[Any], list[Any]] = jax.grad(summed, has_aux=True)(parameters)
        return gradients

    try:
        model = own_models.with_logits(model)
        first, second = (jax.make_jaxpr(lambda *held: step(*held))(parameters, others) for _ in range(2))
    except own_models.NotCompilable as refused:
        return str(refused)
    except Exception as error:  # noqa: BLE001  whatever its layers raise while they are traced
        return f"{type(error).__name__} while its layers were traced"
    if _text(first) != _text(second):
        return "its layers do something else each time that they are called"
    carried = [(some.shape, some.dtype) for some in (*parameters, *others)]
    if [(some.shape, some.dtype) for some in first.out_avals] != carried:
        return "its layers change the shape of what they keep"
    return ""


def _text(program: Any) -> str:
    """Return a traced program as text, its constants included, and without addresses in memory."""
    import numpy as np

    constants = [np.asarray(some).tobytes() for some in program.consts]
    return ADDRESS.sub("", str(program)) + repr(constants)


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise `TooSlow` inside this block, wherever it is then, when it takes longer; and again if it continues."""

    def interrupt(*_: object) -> None:
        raise TooSlow(f"its model is not built after {seconds} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    """Try a model and print the facts; what its file prints is not part of the answer."""
    backend, seconds = sys.argv[1:]
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    backends.clear_environment()
    card.hide(os.environ)
    trial = msgspec.json.decode(sys.stdin.buffer.read(), type=Trial)
    (backends.prepare_tensorflow if backend == "tensorflow" else backends.prepare_jax)()
    (backends.settle_tensorflow if backend == "tensorflow" else backends.settle_jax)()
    try:
        with time_limit(int(seconds)):
            facts = tried(trial, backend)
    except ModelError as error:
        facts = ModelFacts(problem=str(error))
    answer.write(msgspec.json.encode(facts))
    answer.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
