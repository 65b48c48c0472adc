"""The configuration inside a `.keras` file, as text: every class, function and number in it is on a list. Pure."""

from collections.abc import Mapping

MAX_DEPTH = 64
MAX_NUMBER = 2**31
UNBOUNDED = {"seed", "shared_object_id"}
"""Fields whose numbers are labels: they determine no size."""
NEWER_KEYS = {"quantization_config"}
"""Written by Keras after 3.11, which refuses them."""

LAYERS = frozenset({
    "InputLayer", "Flatten", "Dense", "Dropout", "BatchNormalization", "LayerNormalization", "Conv2D", "MaxPooling2D",
    "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D", "Permute", "Reshape", "Rescaling", "Identity",
    "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "GaussianNoise", "GaussianDropout", "SpatialDropout2D",
})  # fmt: skip
"""Each has a rule in `engine.tools.layer_shapes`."""
ACTIVATIONS = frozenset({"ReLU", "LeakyReLU", "ELU", "Softmax"})
"""Layers that may stand in for an activation: they have no weights."""
MODELS = frozenset({"Sequential", "Functional"})
RUNNERS = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "KerasExport"}
"""Layers that are programs."""
INITIALIZERS = frozenset({
    "RandomNormal", "RandomUniform", "TruncatedNormal", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform",
    "LecunNormal", "LecunUniform", "VarianceScaling", "Zeros", "Ones", "Constant", "Orthogonal",
    "OrthogonalInitializer", "Identity", "IdentityInitializer",
})  # fmt: skip
OPTIMIZERS = frozenset({
    "Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion", "Adafactor",
    "LossScaleOptimizer",
})  # fmt: skip
LOSSES = frozenset({
    "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "BinaryCrossentropy", "CategoricalFocalCrossentropy",
    "MeanSquaredError", "MeanAbsoluteError", "KLDivergence", "Poisson", "Hinge", "CategoricalHinge", "Huber",
})  # fmt: skip
METRICS = LOSSES | frozenset({
    "CategoricalAccuracy", "SparseCategoricalAccuracy", "Accuracy", "BinaryAccuracy", "TopKCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy", "Mean", "MeanMetricWrapper", "Precision", "Recall", "F1Score",
})  # fmt: skip
"""Initializers; none of them allocates a table whose size its configuration gives."""
FUNCTIONS = frozenset({
    "linear", "relu", "relu6", "tanh", "sigmoid", "softmax", "elu", "selu", "gelu", "silu", "swish", "softplus",
    "softsign", "leaky_relu", "exponential", "hard_sigmoid", "mish", "log_softmax",
    "categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy", "mean_squared_error",
    "mean_absolute_error", "kl_divergence", "categorical_accuracy", "sparse_categorical_accuracy", "binary_accuracy",
    "accuracy", "top_k_categorical_accuracy",
})  # fmt: skip
"""Functions of Keras: activations, losses and metrics."""
POLICIES = frozenset({"DTypePolicy", "FloatDTypePolicy"})
CLASSES: Mapping[str, frozenset[str]] = {
    "keras": MODELS | POLICIES,
    "keras.models": MODELS,
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.models.sequential": frozenset({"Sequential"}),
    "keras.layers": LAYERS,
    "keras.initializers": INITIALIZERS,
    "keras.optimizers": OPTIMIZERS,
    "keras.optimizers.schedules": frozenset({
        "ExponentialDecay", "PiecewiseConstantDecay", "PolynomialDecay", "InverseTimeDecay", "CosineDecay",
        "CosineDecayRestarts",
    }),
    "keras.losses": LOSSES,
    "keras.metrics": METRICS,
    "keras.regularizers": frozenset({"L1", "L2", "L1L2"}),
    "keras.constraints": frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"}),
    "keras.dtype_policies": POLICIES,
    "keras.random": frozenset({"SeedGenerator"}),
    "keras.activations": frozenset(),
    "builtins": frozenset(),
}  # fmt: skip
LAYER_MODULES = {module for module, names in CLASSES.items() if names & (LAYERS | MODELS) - INITIALIZERS}
TENSOR = {"shape", "dtype", "keras_history"}
"""Keys of the tensor on which a layer is called, in a Functional model's configuration."""


class ConfigError(ValueError):
    """A configuration is not loaded; the message says why, after the file's name."""


def check_config(node: object, depth: int = 0, *, is_layer: bool = False) -> None:
    """Refuse every class, function, key and size that plain dense and convolutional networks do not need.

    Args:
        node: the configuration, or a part of it.
        depth: its depth in the configuration.
        is_layer: whether a model or a layer may be here; one in a setting would be built without being measured.

    Raises:
        ConfigError: there is one.
    """
    if depth > MAX_DEPTH:
        raise ConfigError("has a config.json that is nested too deep; it is not loaded")
    if isinstance(node, list):
        for item in node:
            check_config(item, depth + 1)
    elif isinstance(node, int | float) and not abs(node) <= MAX_NUMBER:
        raise ConfigError(f"has the number {str(node)[:20]} in its config.json; it is not loaded")
    if not isinstance(node, dict):
        return
    if newer := NEWER_KEYS & node.keys():
        raise ConfigError(f"has {min(newer)!r}: it was saved by a newer Keras; the grader's 3.11 cannot load it")
    if node.get("class_name") is not None:
        _check_class(node, is_layer=is_layer)
    inner = node.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) and node.get("class_name") in MODELS else None
    for layer in layers if isinstance(layers, list) else ():
        check_config(layer, depth + 3, is_layer=True)
    for key, value in node.items():
        if value is inner and isinstance(layers, list):
            check_config({name: item for name, item in inner.items() if name != "layers"}, depth + 1)
        elif key == "activation" and isinstance(value, dict) and "class_name" not in value:
            raise ConfigError("has a function of its own as activation, which is a program; it is not loaded")
        elif key not in UNBOUNDED or not isinstance(value, int):
            check_config(value, depth + 1)


def _check_class(node: Mapping[str, object], *, is_layer: bool) -> None:
    name, module, registered = node["class_name"], node.get("module"), node.get("registered_name")
    inner = node.get("config")
    if name == "__keras_tensor__" and module is None and isinstance(inner, dict) and set(inner) <= TENSOR:
        return
    if name == "function" and module in CLASSES and inner in FUNCTIONS:
        if registered not in (None, "function", inner):
            raise ConfigError(f"registers {inner} by another name, as code of its own does; it is not loaded")
        return
    is_own = str(registered).endswith(f">{name}") or (module is None and registered == name)
    if isinstance(name, str) and is_own:
        raise ConfigError(f"is made of a class of its own, {name[:60]!r}, which is a program; it is not loaded")
    if not isinstance(name, str) or not isinstance(module, str) or module not in CLASSES:
        raise ConfigError(f"names {name!r:.60} of {module!r:.60}, which is not plain Keras; it is not loaded")
    if name not in CLASSES[module]:
        raise ConfigError(_unknown(str(inner) if name == "function" else name, module))
    if name in LAYERS | MODELS and module in LAYER_MODULES and not is_layer and name not in ACTIVATIONS:
        raise ConfigError(f"has a {name} layer inside a setting, which no network of this assignment has")
    if registered not in (None, name):
        raise ConfigError(f"registers {name} by another name, as code of its own does; it is not loaded")
    if module == "keras.layers" and "shared_object_id" in node:
        raise ConfigError(f"uses a {name} layer twice, which no network of this assignment does; it is not loaded")


def _unknown(name: str, module: str) -> str:
    if name.startswith("Custom>"):
        return f"has a function of its own, {name[7:60]!r}, which is a program; it is not loaded"
    if module == "builtins":
        return f"names the builtin {name[:60]!r}; it is not loaded"
    if module in LAYER_MODULES:
        why = "could run code" if name in RUNNERS else "no network of this assignment has"
        article = "an" if name[:1] in "AEIO" else "a"
        return f"has {article} {name[:60]} layer, which {why}; it is not loaded"
    return f"names {name[:60]} of {module}, which is not known here; save the model without it"
