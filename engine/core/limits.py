"""Limits of configurations and sweeps, applied to presets, commands and packed files alike. Pure."""

import math
import re

import msgspec

from engine.core import options
from engine.core.options import MAX_UNITS
from engine.core.spec import Configuration, Network, OwnModel, RunSpec, Training
from engine.core.sweep import FinalistRule, Sweep

MAX_LAYERS = 64
MAX_FILTERS = 4_096
MAX_CLASSES = 1_000
CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")
MAX_SEED = 2**31 - 1
MAX_RUNS = 100_000
MAX_MODEL_BYTES = 2**28
"""Largest `.keras` file, in bytes; the assignment's largest has 41 MB with its optimizer's state."""
MAX_NAME, MAX_PARAMS_BYTES = 100, 10_000
"""Longest name of a function or parameter of a model file, in characters; largest JSON of all parameters."""
MAX_SOURCE_BYTES = 2**18
"""Largest model file, in bytes."""
MAX_TITLE = 500
"""Longest title of a sweep, and longest name, setting or value of a recorded run, in characters."""
MAX_SETTINGS = 200
MAX_PARAMETERS = 10**13
MAX_TIME = 10**12
TOKEN = re.compile(r"[0-9a-f]{16}")
"""The form of a recording's token."""


def network_problem(network: Network) -> str:
    """Return what is out of range, the field's name first; empty when nothing is."""
    if network.model is not None:
        is_alone = network == Network(model=network.model)
        return _own_model_problem(network.model) if is_alone else "file: a model file says all; leave other fields out."
    if any(not 1 <= units <= MAX_UNITS for units in network.hidden):
        return f"hidden: each layer has 1 to {MAX_UNITS:,} units."
    if len(network.hidden) + len(network.convolutions) > MAX_LAYERS:
        return f"hidden: at most {MAX_LAYERS} layers, the convolutions included."
    if not network.hidden and not network.convolutions and network.activation != "linear":
        return "activation: a network without hidden layers has none; leave it out."
    if problem := options.problem(network):
        return problem
    if not 0 < abs(network.input_scaling) <= 1e6:
        return "input_scaling: a number other than 0, at most a million."
    for index, layer in enumerate(network.convolutions):
        numbers = (layer.filters, layer.kernel_size, layer.strides, layer.pool)
        if any(not 1 <= number <= MAX_FILTERS for number in numbers):
            return f"convolutions[{index}]: filters, kernel_size, strides and pool are 1 to {MAX_FILTERS:,}."
    return ""


def _own_model_problem(model: OwnModel) -> str:
    names = [name for name, _ in model.params]
    if not re.fullmatch(r"[0-9a-f]{64}", model.sha256):
        return "file: its SHA-256 has 64 hexadecimal digits."
    if not model.build.isidentifier() or len(model.build) > MAX_NAME:
        return "build: the name of a function in the file."
    if not all(name.isidentifier() and len(name) <= MAX_NAME for name in names) or names != sorted(set(names)):
        return "params: each a name of Python, once, in the order of the alphabet."
    numbers = (one for _, value in model.params for one in (value if isinstance(value, tuple) else (value,)))
    if not all(math.isfinite(one) for one in numbers if isinstance(one, float)):
        return "params: numbers are finite; the files of a run have no others."
    if len(msgspec.json.encode(model.params)) > MAX_PARAMS_BYTES:
        return f"params: at most {MAX_PARAMS_BYTES:,} characters together."
    return ""


def training_problem(training: Training) -> str:
    """Return what is out of range or does not go together, the field's name first; empty when nothing is."""
    if problem := options.problem(training):
        return problem
    if sum(getattr(training, name) is not None for name in CLIPPING) > 1:
        return f"{CLIPPING[0]}: Keras takes one of {', '.join(CLIPPING)}."
    if training.nesterov and not training.momentum:
        return "nesterov: it needs momentum above 0."
    if training.patience and not training.validation_split:
        return "patience: early stopping watches the validation images; it needs validation_split above 0."
    if training.schedule == "cosine" and training.warmup_epochs >= training.epochs:
        return f"warmup_epochs: fewer than the {training.epochs:,} epochs."
    if len(set(training.metrics)) < len(training.metrics):
        return "metrics: each once."
    if len(training.class_weight) > MAX_CLASSES or (training.class_weight and not any(training.class_weight)):
        return f"class_weight: a weight for each class, one of them above 0, at most {MAX_CLASSES:,}."
    return ""


def seeds_problem(seeds: tuple[int, ...]) -> str:
    """Return what is wrong with seeds; empty when nothing is."""
    return "" if all(0 <= seed <= MAX_SEED for seed in seeds) else f"seeds: whole numbers from 0 to {MAX_SEED}."


def rule_problem(rule: FinalistRule, configurations: int) -> str:
    """Return what is wrong with the rule for so many configurations; empty when nothing is."""
    if problem := seeds_problem(rule.seeds):
        return problem
    if not (math.isfinite(rule.standard_errors) and rule.standard_errors >= 0):
        return "standard_errors: 0 or more."
    if not 0 <= rule.at_least <= rule.at_most:
        return "at_least: from 0 to at_most."
    if any(not 0 <= index < configurations for index in rule.chosen):
        return f"chosen: indices of configurations, from 0 to {configurations - 1}."
    return ""


def configuration_problem(configuration: Configuration) -> str:
    """Return what is out of range, the field's name first; empty when nothing is."""
    return network_problem(configuration.network) or training_problem(configuration.training)


def recording_problem(spec: RunSpec) -> str:
    """Return what is wrong with the specification of a recorded run; empty when nothing is."""
    model, recording = spec.configuration.recorded, spec.recording
    if model is None or recording is None:
        return "it is not a recorded one."
    if not TOKEN.fullmatch(recording.token) or spec.data or not 0 <= recording.started_at < MAX_TIME:
        return "its token, data or time is not as a recorder writes it."
    pairs = (*model.settings, *recording.versions)
    texts = (model.name, recording.name, recording.device, *(text for pair in pairs for text in pair))
    if not model.name.strip() or len(pairs) > MAX_SETTINGS or any(len(text) > MAX_TITLE for text in texts):
        return f"name: 1 to {MAX_TITLE} characters; at most {MAX_SETTINGS} settings, each as long."
    if not all(text.isprintable() for text in texts):
        return "name: names, settings and values are text without control characters."
    if not 0 <= model.trainable_parameters < MAX_PARAMETERS:
        return "trainable_parameters: 0 or more."
    plain = Configuration(training=Training(epochs=spec.configuration.training.epochs), recorded=model)
    if spec.configuration != plain:
        return "a recorded run has no network and training of ours."
    return configuration_problem(spec.configuration) or seeds_problem((spec.seed,))


def sweep_problem(sweep: Sweep) -> str:
    """Return what a sweep cannot ask for; empty when it can be trained."""
    seeds = len(sweep.seeds) + (len(sweep.finalists.seeds) if sweep.finalists else 0)
    if len(sweep.configurations) * seeds > MAX_RUNS:
        return f"it has more than {MAX_RUNS:,} runs; make it smaller."
    if len(sweep.title) > MAX_TITLE:
        return f"title: at most {MAX_TITLE} characters."
    if any(configuration.recorded for configuration in sweep.configurations):
        return "a recorded configuration is trained by its own program alone."
    problems = [seeds_problem(sweep.seeds), *map(configuration_problem, sweep.configurations)]
    if sweep.finalists is not None:
        problems.append(rule_problem(sweep.finalists, len(sweep.configurations)))
    return next(filter(None, problems), "")
