"""Code for the questions that ask for code: from the very layers that the engine builds."""

from engine.core.data_shape import DataShape
from engine.core.layers import LOSS, METRIC, OPTIMIZERS, Layer, Setting, class_name, layers_of
from engine.core.spec import Configuration
from svhn_tui.presets import Presets, Question


def code_for(configuration: Configuration, shape: DataShape, source: str = "") -> str:
    """Return Python that defines and compiles the network in `model`, and nothing else.

    Args:
        configuration: any network and optimizer that can be trained.
        shape: of the data.
        source: the text of the model file, of an own model.
    """
    network, training = configuration.network, configuration.training
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
        f'    loss="{LOSS}",\n'
        f"    optimizer=keras.optimizers.{OPTIMIZERS[training.optimizer]}(learning_rate={training.learning_rate!r}),\n"
        f'    metrics=["{METRIC}"],\n'
        ")\n"
    )


def code_of(question: Question, book: Presets, shape: DataShape) -> str:
    """Return the code that a question asks for; that of an own model begins with its whole file."""
    configuration = book.configurations(question)[0]
    own = configuration.network.model
    return code_for(configuration, shape, source=book.sources[own.sha256].text if own is not None else "")


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
    return f'"{value}"' if isinstance(value, str) else repr(value)
