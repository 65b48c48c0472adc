"""The options of a run: one table of every field of `Network` and `Training` that a user may set. Pure.

Limits, the sweep form, columns, filter, export, code and `verify` read this table. An optimizer's new field is a line
in `Training` (engine/core/spec.py) and a line here; its type, its choices and its default come from the struct.
"""

from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from engine.core.spec import Network, Training

MAX_UNITS = 65_536
MAX_EPOCHS = 100_000

ValueKind = Literal["choice", "choices", "switch", "integer", "integers", "real", "reals", "objects"]
OptionPart = Literal["network", "training"]
KerasPart = Literal["", "optimizer", "schedule", "loss", "metrics", "fit", "early stopping"]
KINDS: Mapping[object, ValueKind] = {bool: "switch", int: "integer", float: "real"}
LISTS: Mapping[ValueKind, ValueKind] = {"choice": "choices", "integer": "integers", "real": "reals"}
"""The kind of a tuple, by the kind of its items."""
ADAPTIVE = ("adam", "adamw", "nadam")


class Limits(msgspec.Struct, frozen=True):
    """What a number may be; a bound that is None is none."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def hold(self, number: float) -> bool:
        """Say whether a number is within them; what is not a number is not."""
        low = self.at_least is None or number >= self.at_least
        high = self.at_most is None or number <= self.at_most
        return number == number and low and high and self._is_between(number)

    def _is_between(self, number: float) -> bool:
        return (self.above is None or number > self.above) and (self.below is None or number < self.below)

    @property
    def sentence(self) -> str:
        """Write them down: `above 0, at most 1000`, `from 0 to below 1`, `1 to 65,536`."""
        if self.above is not None:
            end = f"at most {self.at_most:g}" if self.at_most is not None else f"below {self.below:g}"
            return f"above {self.above:g}, {end}"
        if self.below is not None:
            return f"from {self.at_least:g} to below {self.below:g}"
        is_count = all(isinstance(bound, int) for bound in (self.at_least, self.at_most))
        return f"{self.at_least:,} to {self.at_most:,}" if is_count else f"from {self.at_least:g} to {self.at_most:g}"


class Owners(msgspec.Struct, frozen=True):
    """The values of another field with which an option has a meaning; none listed: all but that field's default."""

    field: str
    values: tuple[str, ...] = ()


class Option(msgspec.Struct, frozen=True):
    """A field that a user may set; its name is Keras's where Keras has it."""

    name: str
    example: str = ""
    """What may be typed in the sweep form, several values with spaces between."""
    limits: Limits | None = None
    use: KerasPart = ""
    """The part of `compile` and `fit` to which it is passed; empty: it is not passed to Keras under its name."""
    owners: Owners | None = None
    head: str = ""
    """Title of its column, where that is shorter than its own title."""
    part: OptionPart = "training"
    kind: ValueKind = "real"
    choices: tuple[str, ...] = ()
    default: Any = None
    may_be_none: bool = False
    """It may be None, so that Keras decides."""

    @property
    def title(self) -> str:
        """The option's name in words."""
        return self.name.replace("_", " ")

    def read(self, configuration: msgspec.Struct) -> Any:
        """Return its value in a configuration."""
        return getattr(getattr(configuration, self.part), self.name)


def _of_field(option: Option, part: OptionPart, field: msgspec.structs.FieldInfo) -> Option:
    """Return the option with the type, choices and default of its struct's field."""
    kind, choices, may_be_none = _kind_of(field.type)
    return msgspec.structs.replace(
        option, part=part, kind=kind, choices=choices, default=field.default, may_be_none=may_be_none
    )


def _kind_of(annotation: Any) -> tuple[ValueKind, tuple[str, ...], bool]:
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return "choice", inner, False
    if type(None) in inner:
        kind, choices, _ = _kind_of(Union[tuple(item for item in inner if item is not type(None))])  # noqa: UP007
        return kind, choices, True
    if get_origin(annotation) is tuple:
        kind, choices, _ = _kind_of(inner[0])
        return LISTS.get(kind, "objects"), choices, False
    return KINDS.get(annotation, "objects"), (), False


def _table(part: OptionPart, struct: type[msgspec.Struct], *options: Option) -> tuple[Option, ...]:
    """Join the lines with the struct's fields, which each have one."""
    lines = {option.name: option for option in options}
    return tuple(_of_field(lines[field.name], part, field) for field in msgspec.structs.fields(struct))


UNIT = Limits(at_least=0.0, below=1.0)
SHARE = Limits(at_least=0.0, at_most=1.0)
EPOCHS = Limits(at_least=0, at_most=MAX_EPOCHS)
CLIP = Limits(above=0.0, at_most=1e6)
DECAYS = Owners("schedule", ("step", "exponential"))
WATCHED = Owners("patience")

NETWORK = _table(
    "network",
    Network,
    Option("hidden", "64 256,64 linear 64..1024/5"),
    Option("activation", "relu tanh"),
    Option("kernel_initializer", "random_normal glorot_uniform he_normal"),
    Option("bias_initializer", "random_normal zeros"),
    Option("convolutions"),
    Option("dropout", "0 0.2 0.5", UNIT),
    Option("batch_normalization", "no yes"),
    Option("input_scaling", "1 0.00392157"),
    Option("model"),
)
TRAINING = _table(
    "training",
    Training,
    Option("epochs", "100", Limits(at_least=1, at_most=MAX_EPOCHS)),
    Option("batch_size", "32 64", Limits(at_least=1, at_most=MAX_UNITS), head="batch"),
    Option("optimizer", "adam adamw sgd rmsprop adagrad nadam"),
    Option("learning_rate", "1e-5 1e-4 or 1e-5..1e-3/3", Limits(above=0.0, at_most=1e3), head="rate"),
    Option("validation_split", "0 0.1", UNIT),
    Option("trainer", "fast keras-fit"),
    Option("momentum", "0 0.9", SHARE, "optimizer", Owners("optimizer", ("sgd", "rmsprop"))),
    Option("nesterov", "no yes", None, "optimizer", Owners("optimizer", ("sgd",))),
    Option("beta_1", "0.9", UNIT, "optimizer", Owners("optimizer", ADAPTIVE)),
    Option("beta_2", "0.999 0.99", UNIT, "optimizer", Owners("optimizer", ADAPTIVE)),
    Option("rho", "0.9", UNIT, "optimizer", Owners("optimizer", ("rmsprop",))),
    Option("epsilon", "1e-7", Limits(above=0.0, at_most=1.0), "optimizer",
           Owners("optimizer", (*ADAPTIVE, "rmsprop", "adagrad"))),
    Option("amsgrad", "no yes", None, "optimizer", Owners("optimizer", ("adam", "adamw"))),
    Option("centered", "no yes", None, "optimizer", Owners("optimizer", ("rmsprop",))),
    Option("weight_decay", "none 1e-4", SHARE, "optimizer"),
    Option("clipnorm", "none 1", CLIP, "optimizer"),
    Option("clipvalue", "none 0.5", CLIP, "optimizer"),
    Option("global_clipnorm", "none 1", CLIP, "optimizer"),
    Option("schedule", "constant cosine step exponential"),
    Option("warmup_epochs", "0 5", EPOCHS, "schedule", Owners("schedule", ("constant", "cosine"))),
    Option("decay_epochs", "10", Limits(at_least=1, at_most=MAX_EPOCHS), "schedule", DECAYS),
    Option("decay_rate", "0.1 0.5", Limits(above=0.0, at_most=1.0), "schedule", DECAYS),
    Option("alpha", "0 0.01", SHARE, "schedule", Owners("schedule", ("cosine",))),
    Option("label_smoothing", "0 0.1", UNIT, "loss"),
    Option("class_weight", "none 1,2,1,1,1,1,1,1,1,1", Limits(at_least=0.0, at_most=1e6), "fit"),
    Option("patience", "0 10", EPOCHS, "early stopping"),
    Option("monitor", "val_loss val_categorical_accuracy", None, "early stopping", WATCHED),
    Option("min_delta", "0 0.001", Limits(at_least=0.0, at_most=1e6), "early stopping", WATCHED),
    Option("start_from_epoch", "0 10", EPOCHS, "early stopping", WATCHED),
    Option("restore_best_weights", "no yes", None, "early stopping", WATCHED),
    Option("metrics", "none top_k_categorical_accuracy", None, "metrics"),
)  # fmt: skip
OPTIONS: Mapping[str, Option] = {option.name: option for option in (*NETWORK, *TRAINING)}
LISTED: Mapping[str, Option] = {name: option for name, option in OPTIONS.items() if option.kind != "objects"}
"""The options that are one value or a list of values, which can be typed, listed and filtered by."""


def applies(option: Option, value: object) -> bool:
    """Say whether an option has a meaning where the field that it belongs to has this value, or is so typed."""
    if option.owners is None:
        return True
    if option.owners.values:
        return value in option.owners.values
    return str(value) != str(OPTIONS[option.owners.field].default)


def has_meaning(option: Option, part: Network | Training) -> bool:
    """Say whether an option has a meaning with the others."""
    return option.owners is None or applies(option, getattr(part, option.owners.field))


def problem(part: Network | Training) -> str:
    """Return which option is out of range or has no meaning with the others, its name first; empty when none is."""
    for option in NETWORK if isinstance(part, Network) else TRAINING:
        value = getattr(part, option.name)
        if value != option.default and (text := _problem_of(option, value, part)):
            return f"{option.name}: {text}"
    return ""


def _problem_of(option: Option, value: Any, part: Network | Training) -> str:
    numbers = value if isinstance(value, tuple) else (value,)
    if option.limits is not None and not all(map(option.limits.hold, numbers)):
        return f"{option.limits.sentence}."
    owners = option.owners
    if owners is None or has_meaning(option, part):
        return ""
    if not owners.values:
        return f"it needs {owners.field} above {OPTIONS[owners.field].default}."
    return f"it belongs to the {owners.field} {_listed(owners.values)}; here that is {getattr(part, owners.field)}."


def _listed(values: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))
