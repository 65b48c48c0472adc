"""Code for the questions that ask for code: from the very configuration that the engine trains."""

from engine.spec import Configuration

NAMES = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "adagrad": "Adagrad", "nadam": "Nadam"}


def code_for(configuration: Configuration, input_shape: tuple[int, int, int]) -> str:
    """Return Python that defines and compiles the dense network in `model`, and nothing else.

    Args:
        configuration: a network of dense layers.
        input_shape: (channels, height, width) of an image.
    """
    network, training = configuration.network, configuration.training
    kernel, bias = (_initializer(name) for name in (network.kernel_initializer, network.bias_initializer))
    layers = [(units, network.activation) for units in network.hidden] + [(10, "softmax")]
    dense = "".join(
        f"        keras.layers.Dense(\n"
        f'            {units},\n            activation="{activation}",\n'
        f"            kernel_initializer={kernel},\n            bias_initializer={bias},\n"
        f"        ),\n"
        for units, activation in layers
    )
    return (
        "from tensorflow import keras\n\n"
        "model = keras.Sequential(\n    [\n"
        f"        keras.Input(shape={input_shape}),\n"
        "        keras.layers.Flatten(),\n"
        f"{dense}"
        "    ]\n)\n"
        "model.compile(\n"
        '    loss="categorical_crossentropy",\n'
        f"    optimizer=keras.optimizers.{NAMES[training.optimizer]}(learning_rate={training.learning_rate:g}),\n"
        '    metrics=["categorical_accuracy"],\n'
        ")\n"
    )


def _initializer(name: str) -> str:
    return f"keras.initializers.{''.join(word.title() for word in name.split('_'))}()"
