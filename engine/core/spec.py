"""The specification of a run: network, training settings, seed and data. Pure; every process imports it.

The identity of a run is a hash of these values, so equal runs are shared between questions and never trained twice.
Fields at their defaults are left out of the hashed text: a field added later, at its default, renames no old run.
"""

import hashlib
from functools import cache, lru_cache
from typing import Literal

import msgspec

NUMERICS_VERSION = 1
"""Raised when a change alters what is trained from the same seed; old runs then stay valid but are not shared.

Not by the trainer: native, JAX and two processors differ by rounding alone (weights by 1e-7 after 502 batches,
`tests/training/test_parity.py`). Saturated tanh units magnify rounding until a seed ends elsewhere, with JAX against
`model.fit` as with native against JAX; over seeds no test distinguishes them (docs/measurements.md). The result records
which trainer it was."""

Activation = Literal[
    "linear", "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "softsign", "leaky_relu"
]
Initializer = Literal[
    "random_normal", "random_uniform", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform",
    "lecun_normal", "lecun_uniform", "truncated_normal", "zeros", "ones",
]  # fmt: skip
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop", "adagrad", "nadam"]
Schedule = Literal["constant", "cosine", "step", "exponential"]
Monitor = Literal["val_loss", "val_categorical_accuracy"]
ExtraMetric = Literal["top_k_categorical_accuracy"]
TrainerName = Literal["fast", "native", "jax", "keras-fit", "auto", "keras"]
"""`fast` is whichever of `native` and `jax` suits configuration and machine; `keras-fit` is `model.fit`."""
OTHER_NAMES: dict[TrainerName, TrainerName] = {"auto": "fast", "keras": "keras-fit"}
"""Names that mean the same; a run is known by the one that was there first, so that its hash stays."""


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False, cache_hash=True):
    """A frozen value whose text form states only what differs from the defaults.

    Values hold no cycles, so the garbage collector need not walk through the thousands that there are; hashes stay.
    """


class Convolution(Value, frozen=True):
    """A Conv2D layer, with max pooling behind it where `pool` is above 1."""

    filters: int
    kernel_size: int = 3
    strides: int = 1
    padding: Literal["valid", "same"] = "same"
    pool: int = 1


Scalar = bool | int | float | str | None
Param = Scalar | tuple[Scalar, ...]


class OwnModel(Value, frozen=True):
    """A call of a function in a model file, a Python file of the user's own: it returns a Keras model."""

    sha256: str
    """Hash of the file's content; its name does not count."""
    build: str
    """The function, called with `(input_shape, classes, **params)`."""
    params: tuple[tuple[str, Param], ...] = ()
    """Sorted by name."""

    @property
    def label(self) -> str:
        """`residual width 64 #3f2a`: the first digits of its hash distinguish its versions."""
        return " ".join(
            [self.build, *(f"{name} {_shown(value)}" for name, value in self.params), f"#{self.sha256[:4]}"]
        )


class Network(Value, frozen=True):
    """A sequential network: convolutions, Flatten, dense hidden layers, a dense softmax output; or an own model."""

    hidden: tuple[int, ...] = ()
    activation: Activation = "linear"
    """Of the hidden layers and the convolutions; a network that has neither keeps `linear`."""
    kernel_initializer: Initializer = "random_normal"
    bias_initializer: Initializer = "random_normal"
    convolutions: tuple[Convolution, ...] = ()
    dropout: float = 0.0
    """Share of units dropped after each hidden layer."""
    batch_normalization: bool = False
    input_scaling: float = 1.0
    """Pixels (0..255) are multiplied by this; the assignment trains on raw pixels."""
    model: OwnModel | None = None
    """What is built instead of all this, if it is given."""

    @property
    def label(self) -> str:
        """`linear`, `relu 256`, `relu (256, 64)`, `relu conv 16 32, 256`, `residual width 64 #3f2a`."""
        if self.model is not None:
            return self.model.label
        if not self.hidden and not self.convolutions:
            return "linear"
        units = str(self.hidden[0]) if len(self.hidden) == 1 else f"({', '.join(map(str, self.hidden))})"
        filters = " ".join(str(layer.filters) for layer in self.convolutions)
        parts = [self.activation, f"conv {filters}," if filters else "", units if self.hidden else ""]
        return " ".join(part for part in parts if part).rstrip(",")


class Training(Value, frozen=True):
    """How a network is trained. The defaults are the assignment's, and Keras's where the assignment is silent.

    The fields have Keras's names; `engine/core/options.py` says of each what it may be and where Keras takes it.
    """

    epochs: int = 100
    batch_size: int = 32
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-5
    validation_split: float = 0.0
    """Share of the training images, taken from the end, that is held out as Keras does; 0 in the assignment."""
    trainer: TrainerName = "fast"
    momentum: float = 0.0
    nesterov: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    rho: float = 0.9
    epsilon: float = 1e-7
    amsgrad: bool = False
    centered: bool = False
    weight_decay: float | None = None
    """None is Keras's default: 0.004 for AdamW, none for the others."""
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    schedule: Schedule = "constant"
    """How the learning rate changes from batch to batch; `step` and `exponential` are Keras's ExponentialDecay."""
    warmup_epochs: int = 0
    """Epochs during which the learning rate rises from 0."""
    decay_epochs: int = 10
    """Epochs after which the learning rate has been multiplied by `decay_rate`."""
    decay_rate: float = 0.1
    alpha: float = 0.0
    """Learning rate at the end of the cosine, as a share of the initial one."""
    label_smoothing: float = 0.0
    class_weight: tuple[float, ...] = ()
    """Weight of each class in the training loss, in label order; empty: all alike."""
    patience: int = 0
    """Epochs without an improvement of `monitor` after which training stops; 0 trains all epochs."""
    monitor: Monitor = "val_loss"
    min_delta: float = 0.0
    start_from_epoch: int = 0
    restore_best_weights: bool = False
    """The file holds the weights of the best epoch instead of those of the last."""
    metrics: tuple[ExtraMetric, ...] = ()
    """What is measured of the test images besides loss and accuracy."""

    def __post_init__(self) -> None:
        """Keep the trainer by the name that runs are known by."""
        if self.trainer in OTHER_NAMES:
            msgspec.structs.force_setattr(self, "trainer", OTHER_NAMES[self.trainer])

    @property
    def worker(self) -> str:
        """The kind of worker that it needs: TensorFlow has a process of its own."""
        return "keras-fit" if self.trainer == "keras-fit" else "fast"


IN_LABEL = ("hidden", "activation", "convolutions", "model")
"""Fields that a network's own label shows."""


class RecordedModel(Value, frozen=True):
    """What a program of the user's own trains, as far as `svhn_tui.keras.Recorder` knows it."""

    name: str
    """What the user calls it; runs of one group have the same."""
    trainable_parameters: int = 0
    settings: tuple[tuple[str, str], ...] = ()
    """Names and values, in the order in which they are shown."""

    def setting(self, name: str) -> str | None:
        """Return the value of a setting; None where it is not known."""
        return dict(self.settings).get(name)


class Configuration(Value, frozen=True):
    """A network and its training settings.

    Of what was recorded, `recorded` says what it is: the network is at its defaults then and says nothing, and of the
    training the number of epochs alone is known.
    """

    network: Network = Network()
    training: Training = Training()
    recorded: RecordedModel | None = None

    @property
    def network_label(self) -> str:
        """The network, or the name of what was recorded."""
        return self.network.label if self.recorded is None else f"{self.recorded.name} (recorded)"

    @property
    def label(self) -> str:
        """The network, and what of it and of its training is not as the assignment asks."""
        # of an own model it is not stored: its parameters may be 1 or True, which are equal
        return _label_of(self) if self.network.model is None else _label_of.__wrapped__(self)


@lru_cache(4_096)
def _label_of(configuration: Configuration) -> str:
    """Return a configuration's label; thousands of runs share few of them."""
    other = [
        f"{name} {setting_text(value)}".replace("_", " ").removesuffix(" True")
        for part in (configuration.network, configuration.training)
        for name, value in _changed_fields(part)
        if name not in IN_LABEL
    ]
    return " · ".join([configuration.network_label, *([] if configuration.recorded else other)])


def setting_text(value: object) -> str:
    """Return a setting as labels and sentences have it: `0.001`, `1000` for a rate of 1000.0, `1.0,2.5` for a list."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


class Recording(Value, frozen=True):
    """One training by a program of the user's own, which is a run of its own however often it is repeated."""

    token: str
    """Random, so that two recordings of one configuration and seed are two runs."""
    started_at: float
    """Seconds since 1970."""
    name: str = ""
    """Name of this run alone, where its group has another."""
    device: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    """Versions of the libraries that trained it."""


class RunSpec(Value, frozen=True):
    """One seed of one configuration on one data set."""

    configuration: Configuration
    seed: int
    data: str
    """Fingerprint of the data set's content."""
    numerics: int = NUMERICS_VERSION
    recording: Recording | None = None
    """Present if, and only if, the configuration is a recorded one; the data is not known then."""

    @property
    def run_id(self) -> str:
        """Twelve hexadecimal digits, the same on every machine for equal values."""
        return short_hash(self)


def short_hash(value: object) -> str:
    """Return twelve hexadecimal digits of the SHA-256 of the value's canonical JSON."""
    text = msgspec.json.encode(_essence(value), order="deterministic")
    return hashlib.sha256(text).hexdigest()[:12]


def _essence(value: object) -> object:
    """Return what differs from the defaults. (`omit_defaults` compares floats by identity: an equal one that was parsed
    would stay.)"""
    if isinstance(value, Configuration):
        return msgspec.Raw(_canonical(value, msgspec.json.encode(value)))
    if isinstance(value, msgspec.Struct):
        return _differing(value)
    return [_essence(item) for item in value] if isinstance(value, tuple) else value


def _differing(value: msgspec.Struct) -> dict[str, object]:
    return {name: _essence(own) for name, own in _changed_fields(value)}


def _changed_fields(value: msgspec.Struct) -> list[tuple[str, object]]:
    """Return name and value of each field that is not at its default."""
    fields = zip(_defaults(type(value)), msgspec.structs.astuple(value), strict=True)
    return [(name, own) for (name, default), own in fields if own is not default and own != default]


@lru_cache(10_000)
def _canonical(configuration: "Configuration", text: bytes) -> bytes:
    """Return its canonical JSON, which thousands of seeds share. (`text` distinguishes 1 from 1.0, which are equal.)"""
    return msgspec.json.encode(_differing(configuration), order="deterministic")


@cache
def _defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, object], ...]:
    return tuple((field.name, field.default) for field in msgspec.structs.fields(kind))


def _shown(value: Param) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
