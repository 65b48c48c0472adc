"""Code for the questions that ask for code, made from the same layers and settings that the engine uses."""

from engine.core import compilation
from engine.core.compilation import Argument, Call
from engine.core.data_shape import DataShape
from engine.core.layers import Layer, Setting, class_name, layers_of
from engine.core.spec import Configuration
from svhn_tui.presets import Presets, Question

WIDTH = 100
"""Longest call on one line, in columns; a longer one has a line for each argument."""


def code_for(configuration: Configuration, shape: DataShape, train_images: int = 0, source: str = "") -> str:
    """Return Python that defines and compiles the network in `model`, and nothing else.

    Args:
        configuration: any network and optimizer that can be trained.
        shape: of the data.
        train_images: of the data; a learning-rate schedule counts their batches.
        source: the text of the model file, of an own model.

    Raises:
        ValueError: there is a schedule, and the number of images is not known.
    """
    network, training = configuration.network, configuration.training
    optimizer = compilation.optimizer_of(training, compilation.batches_of(training, train_images))
    metrics = ", ".join(f'"{name}"' for name in compilation.metrics_of(training))
    if network.model is not None:
        given = "".join(f", {name}={value!r}" for name, value in network.model.params)
        model = f"{source.rstrip()}\n\n\nfrom tensorflow import keras\n\nmodel = {network.model.build}("
        model += f"{shape.inputs}, {shape.classes}{given})\n"
    else:
        model = (
            "from tensorflow import keras\n\n"
            "model = keras.Sequential(\n    [\n"
            f"        keras.Input(shape={shape.inputs}),\n"
            f"{''.join(map(_line, layers_of(network, shape.classes)))}"
            "    ]\n)\n"
        )
    return (
        f"{model}"
        "model.compile(\n"
        f"{_argument('loss', compilation.loss_of(training))}"
        f"{_argument('optimizer', optimizer)}"
        f"    metrics=[{metrics}],\n"
        ")\n"
    )


def code_of(question: Question, book: Presets, shape: DataShape, train_images: int = 0) -> str:
    """Return the code that a question asks for; that of an own model begins with its whole file."""
    configuration = book.configurations(question)[0]
    own = configuration.network.model
    return code_for(configuration, shape, train_images, source=book.sources[own.sha256].text if own is not None else "")


def _line(layer: Layer) -> str:
    """Return a layer as an item of the list: on one line, or with one argument a line where there are several."""
    name = f"        keras.layers.{layer.kind}("
    arguments = [f"{field}={_text(field, value)}" for field, value in layer.settings.items()]
    if len(arguments) < 2:
        return f"{name}{''.join(arguments)}),\n"
    return name + "\n" + "".join(f"            {argument},\n" for argument in arguments) + "        ),\n"


def _text(field: str, value: Setting) -> str:
    if field.endswith("_initializer"):
        return f"keras.initializers.{class_name(str(value))}()"
    return _call(value, 0) if isinstance(value, str) else repr(value)


def _argument(name: str, value: Argument) -> str:
    return f"    {name}={_call(value, 4)},\n"


def _call(value: Argument, indent: int) -> str:
    """Write a value, or a call: on one line if it fits, else with an argument a line, indented below its own line."""
    if not isinstance(value, Call):
        return f'"{value}"' if isinstance(value, str) else repr(value)
    name = f"keras.{value.module}.{value.kind}("
    arguments = [f"{field}={_call(own, indent + 4)}" for field, own in value.arguments.items()]
    one_line = f"{name}{', '.join(arguments)})"
    if "\n" not in one_line and indent + len(one_line) <= WIDTH:
        return one_line
    return name + "\n" + "".join(f"{' ' * (indent + 4)}{own},\n" for own in arguments) + " " * indent + ")"
