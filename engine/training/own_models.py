"""Runs a model file and calls the function in it that returns a Keras model.

Only processes that train, or that examine one file, do this. They execute the text whose SHA-256 the run names: no
folder is searched, and no bytecode is written. On JAX `from tensorflow import keras` imports the Keras of the process;
any other use of TensorFlow fails, and `model.fit` trains the model.
"""

import builtins
import contextlib
import importlib
import linecache
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import keras

from engine.core.data_shape import DataShape
from engine.core.spec import OwnModel, Param
from engine.machine.control_sequences import without_controls
from engine.training.model_sources import FILE, ModelError, TooSlow, name_of, source_of

MAX_CALLS = 4
"""Lines of a traceback that are shown, the last ones."""

_modules: dict[str, ModuleType] = {}


class NotCompilable(Exception):
    """A model trains with `model.fit` alone; the message says why, without a full stop."""


def build(asked: OwnModel, shape: DataShape, seed: int) -> keras.Model:
    """Return the model with fresh weights, drawn as after `keras.utils.set_random_seed(seed)`.

    Raises:
        ModelError: the file or its function fails, or returns no such model.
    """
    keras.utils.set_random_seed(seed)
    params = {name: _plain(value) for name, value in asked.params}
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its output must not mix with that of this process
            function = getattr(_module(asked.sha256), asked.build, None)
            if not callable(function):
                raise ModelError(f"{name_of(asked)} has no function {asked.build!r}.")
            model = function(tuple(shape.inputs), shape.classes, **params)
            if isinstance(model, keras.Model) and not model.built:
                model.build((None, *shape.inputs))
    except ModelError:
        raise
    except (Exception, SystemExit, TooSlow) as error:
        raise model_error(error, asked) from error
    _check(model, asked, tuple(shape.inputs), shape.classes)
    return model


def custom_objects(asked: OwnModel, model: keras.Model) -> Mapping[str, Any]:
    """Return the classes and functions that a `.keras` file of this model names beside Keras's own."""
    module = _module(asked.sha256)
    own = {name: thing for name, thing in vars(module).items() if _is_of(module, thing)}
    return own | {kind.__name__: kind for kind in map(type, _layers(model)) if _is_of(module, kind)}


def model_error(error: BaseException, asked: OwnModel) -> ModelError:
    """Return an error that says what went wrong in a model file, with the calls in it that led there."""
    source, file = source_of(asked.sha256).splitlines(), name_of(asked)
    message, kind = _message_of(error), "" if isinstance(error, TooSlow) else type(error).__name__
    what = ": ".join(filter(None, (kind, message)))
    if isinstance(error, ModuleNotFoundError):
        what += " (a model file stands alone: what it uses of yours has to be in it)"
    if isinstance(error, SyntaxError) and error.filename == _filename(asked.sha256):
        line = error.lineno or 1
        shown = source[line - 1].strip() if line <= len(source) else ""
        return ModelError(f"{file}, line {line}: {type(error).__name__}: {error.msg}\n  line {line}: {shown[:200]}")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _filename(asked.sha256)]
    if not frames:
        return ModelError(f"{asked.build} in {file}: {what}")
    calls = [f"  line {frame.lineno}, in {frame.name}: {(frame.line or '')[:200]}" for frame in frames[-MAX_CALLS:]]
    return ModelError("\n".join([f"{file}, line {frames[-1].lineno}, in {frames[-1].name}: {what}", *calls]))


def with_logits(model: keras.Model) -> keras.Model:
    """Return the model without the softmax at its end; its variables are the same, in the same order.

    Raises:
        NotCompilable: it does not end with one, or does not consist of layers alone.
    """
    if not type(model).__module__.startswith("keras."):
        raise NotCompilable(f"{type(model).__name__} is a class of its own, which may train in its own way")
    last = next((layer for layer in model.layers if _output(layer) is model.outputs[0]), None)
    if last is not None and getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
        return model
    if isinstance(last, keras.layers.Softmax) and last.axis == -1:
        return keras.Model(model.inputs, last.input)
    raise NotCompilable("no softmax is found at its end")


def _message_of(error: BaseException) -> str:
    """Return the first line of an error's message; Keras puts one before it that says which layer was called."""
    lines = [
        line.strip()
        for line in without_controls(str(error).encode(errors="replace")).decode().splitlines()
        if line.strip()
    ]
    is_wrapped = len(lines) > 1 and lines[0].startswith("Exception encountered when calling")
    return lines[is_wrapped][:300] if lines else ""


def _module(sha256: str) -> ModuleType:
    if sha256 not in _modules:
        source = source_of(sha256)
        module = ModuleType(f"model_{sha256[:12]}")
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        linecache.cache[_filename(sha256)] = (len(source), None, source.splitlines(keepends=True), _filename(sha256))
        sys.modules[module.__name__] = module  # dataclasses look there
        exec(compile(source.removeprefix("\ufeff"), _filename(sha256), "exec", dont_inherit=True), module.__dict__)
        _modules[sha256] = module
    return _modules[sha256]


def _filename(sha256: str) -> str:
    return f"<{FILE} {sha256[:12]}>"


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> ModuleType:
    """Import as Python does, except that Keras imported from TensorFlow is the Keras of this process."""
    first, *below = name.split(".")
    if first != "tensorflow" or keras.backend.backend() == "tensorflow":
        return builtins.__import__(name, globals, locals, fromlist, level)
    if below[:1] == ["keras"] and fromlist:
        return importlib.import_module(".".join(below))
    if below and below[0] != "keras":
        raise ImportError(f"{name} is not used on JAX", name=name)
    stand_in = ModuleType("tensorflow")
    stand_in.__dict__["keras"] = keras
    return stand_in


def _plain(value: Param) -> object:
    return list(value) if isinstance(value, tuple) else value


def _is_of(module: ModuleType, thing: object) -> bool:
    return getattr(thing, "__module__", "") == module.__name__ and callable(thing)


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    yield model
    for layer in model.layers:
        yield from _layers(layer) if isinstance(layer, keras.Model) else (layer,)


def _output(layer: keras.layers.Layer) -> object:
    try:
        return layer.output
    except (AttributeError, ValueError):  # it was called several times, or never
        return None


def _check(model: object, asked: OwnModel, input_shape: tuple[int, ...], classes: int) -> None:
    """Check that a function returned a model from images to classes.

    Raises:
        ModelError: it did not.
    """
    name = f"{asked.build} in {name_of(asked)}"
    if not isinstance(model, keras.Model):
        raise ModelError(f"{name} returns {type(model).__name__}, and has to return a keras.Model.")
    inputs = getattr(model, "inputs", None)  # a class of its own may have none
    if inputs is not None and (len(inputs) != 1 or tuple(inputs[0].shape[1:]) != input_shape):
        shapes = ", ".join(str(tuple(some.shape[1:])) for some in inputs)
        raise ModelError(f"{name} returns a model for {shapes}; the images are {input_shape}.")
    try:
        given = _outputs(model, input_shape)
    except Exception as error:
        raise model_error(error, asked) from error
    if not isinstance(given, tuple):
        raise ModelError(f"{name} returns a model with several outputs; one of {classes} numbers is asked.")
    if given != (None, classes):
        raise ModelError(f"{name} returns a model that gives {given} numbers; ({None}, {classes}) are asked.")


def _outputs(model: keras.Model, input_shape: tuple[int, ...]) -> object:
    """Return the shape of a model's output for images; with several outputs, their shapes."""
    try:
        return model.compute_output_shape((None, *input_shape))
    except NotImplementedError:  # a class of its own, which has only `call`
        given = model.compute_output_spec(keras.KerasTensor((None, *input_shape)))
        return given.shape if isinstance(given, keras.KerasTensor) else given
