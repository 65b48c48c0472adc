# ruff: noqa: E501  sentences are compared whole
"""One table of options: what each may be, with which others it has a meaning, and that none renames an old run."""

import inspect
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from engine.core import limits
from engine.core.options import NETWORK, OPTIONS, TRAINING, applies
from engine.core.spec import Configuration, Convolution, Network, Optimizer, RunSpec, Training

DESCRIBED = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
CLIPPED = "clipnorm: Keras takes one of clipnorm, clipvalue, global_clipnorm."


@pytest.mark.parametrize(
    ("configuration", "run_id"),
    [
        (Configuration(), "55b3f5fcd40a"),
        (Configuration(training=Training(optimizer="sgd")), "6765c414f181"),
        (Configuration(training=Training(validation_split=0.5, optimizer="adamw")), "25ceef0415ed"),
        (Configuration(Network((64,), "relu")), "50e826cf193c"),
        (
            Configuration(
                Network((8, 8), "tanh", dropout=0.5, batch_normalization=True),
                Training(validation_split=0.5, optimizer="adamw"),
            ),
            "aa97366bf843",
        ),
        (Configuration(Network((6,), "relu", convolutions=(Convolution(3),))), "3736e7cb1cdd"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.label,
)
def test_options_at_their_defaults_rename_no_run(configuration: Configuration, run_id: str):
    assert RunSpec(configuration, 1, "d").run_id == run_id
    stated = {name: getattr(configuration.training, name) for name in Training.__struct_fields__}
    assert RunSpec(msgspec.structs.replace(configuration, training=Training(**stated)), 1, "d").run_id == run_id
    others = msgspec.structs.replace(configuration.training, label_smoothing=0.1)
    assert RunSpec(msgspec.structs.replace(configuration, training=others), 1, "d").run_id != run_id


def test_every_field_has_its_line():
    assert [option.name for option in NETWORK] == list(Network.__struct_fields__)
    assert [option.name for option in TRAINING] == list(Training.__struct_fields__)
    assert all(option.example for option in OPTIONS.values() if option.kind != "objects")


def _section(head: str) -> str:
    """Return a section of docs/experiments.md."""
    return DESCRIBED.partition(f"\n## {head}\n")[2].partition("\n## ")[0]


def test_every_option_of_training_is_described():
    rows = {row.split("`")[1]: row for row in _section("Training").splitlines() if row.startswith("| `")}
    assert list(rows) == [option.name for option in TRAINING]
    for option in TRAINING:
        limits = option.limits.sentence if option.limits else ""
        values = option.owners.values if option.owners else ()
        assert all(word in rows[option.name] for word in (limits, *option.choices, *values)), option.name


def test_every_field_of_a_network_is_described():
    rows = [row for row in _section("Networks").splitlines() if row.startswith("| `")]
    named = {word for row in rows for word in row.split("|")[1].split("`")[1::2]}
    assert named == set(Network.__struct_fields__) - {"model"}  # docs/models.md has it
    layers = next(row for row in rows if "`convolutions`" in row)
    assert all(f"`{name}`" in layers or f'"{name}"' in layers for name in Convolution.__struct_fields__)
    for option in NETWORK:
        row = next((row for row in rows if f"`{option.name}`" in row.split("|")[1]), "")
        assert all(f"`{word}`" in row for word in option.choices), option.name


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_an_optimizers_options_and_their_defaults_are_those_of_keras(optimizer: Optimizer):
    """Arguments at their defaults are not passed to Keras, so both have to have the same ones."""
    import keras

    from engine.core.layers import OPTIMIZERS

    known = inspect.signature(getattr(keras.optimizers, OPTIMIZERS[optimizer]).__init__).parameters
    for option in (option for option in TRAINING if option.use == "optimizer"):
        is_its = option.owners is None or applies(option, optimizer)
        assert is_its == (option.name in known), option.name
        if is_its and option.name != "weight_decay":  # None leaves it to Keras, which has another default for AdamW
            assert known[option.name].default == option.default, option.name


def test_the_other_defaults_are_those_of_keras():
    import keras

    callback = inspect.signature(keras.callbacks.EarlyStopping.__init__).parameters
    loss = inspect.signature(keras.losses.CategoricalCrossentropy.__init__).parameters
    for option in TRAINING:
        if option.use in ("early stopping", "loss"):
            known = callback if option.use == "early stopping" else loss
            assert known[option.name].default == option.default, option.name


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (Training(momentum=0.9), "momentum: it belongs to the optimizer sgd or rmsprop; here that is adam."),
        (Training(optimizer="sgd", beta_1=0.8), "beta_1: it belongs to the optimizer adam, adamw or nadam; here that is sgd."),
        (Training(optimizer="sgd", momentum=1.5), "momentum: from 0 to 1."),
        (Training(optimizer="sgd", nesterov=True), "nesterov: it needs momentum above 0."),
        (Training(clipnorm=0.0), "clipnorm: above 0, at most 1e+06."),
        (Training(clipnorm=1.0, clipvalue=1.0), CLIPPED),
        (Training(decay_rate=0.5), "decay_rate: it belongs to the schedule step or exponential; here that is constant."),
        (Training(schedule="step", warmup_epochs=3), "warmup_epochs: it belongs to the schedule constant or cosine; here that is step."),
        (Training(schedule="cosine", warmup_epochs=100), "warmup_epochs: fewer than the 100 epochs."),
        (Training(label_smoothing=1.0), "label_smoothing: from 0 to below 1."),
        (Training(label_smoothing=float("nan")), "label_smoothing: from 0 to below 1."),
        (Training(class_weight=(1.0, -1.0)), "class_weight: from 0 to 1e+06."),
        (Training(class_weight=(0.0, 0.0)), "class_weight: a weight for each class, one of them above 0, at most 1,000."),
        (Training(min_delta=0.1), "min_delta: it needs patience above 0."),
        (Training(patience=3), "patience: early stopping watches the validation images; it needs validation_split above 0."),
        (Training(epochs=0), "epochs: 1 to 100,000."),
        (Training(patience=3, validation_split=0.1, restore_best_weights=True, min_delta=0.1), ""),
        (Training(optimizer="rmsprop", momentum=0.9, rho=0.8, centered=True, schedule="cosine", warmup_epochs=5), ""),
    ],
)  # fmt: skip
def test_what_cannot_be_or_has_no_meaning_is_refused_in_one_sentence(training: Training, message: str):
    assert limits.training_problem(training) == message
