"""Own models that were tried, with their outcomes, and those that wait for a trial. Pure."""

from collections.abc import Iterator, Mapping

import msgspec

from engine import protocol as p
from engine.core.own_model import ModelFacts
from engine.core.spec import Configuration, OwnModel, RunSpec

Key = tuple[OwnModel, str]
"""A model and the fingerprint of the data that it is built for."""


class KnownModels:
    """The outcome of each trial, and which models wait for one."""

    def __init__(self, names: Mapping[str, str] = {}) -> None:
        self.facts: dict[Key, ModelFacts] = {}
        self.wanted: dict[Key, None] = {}
        """Models of waiting runs that are to be tried, or that cannot be trained."""
        self.trials: dict[Key, p.TrialStarted] = {}
        """The trials in progress."""
        self.names = dict(names)
        """The user's names for model files, by their SHA-256."""

    def events(self) -> Iterator[p.AnyEvent]:
        """Return what is known as events."""
        yield from self.trials.values()
        for (model, data), facts in self.facts.items():
            yield p.ModelTried(model=model, data=data, facts=facts)

    def is_ready(self, spec: RunSpec) -> bool:
        """Say whether a run can be given to a worker; if not, record that its model is to be tried."""
        model = spec.configuration.network.model
        if model is None:
            return True
        known = self.facts.get((model, spec.data))
        if known is None or known.problem:
            self.wanted[model, spec.data] = None
            return False
        return True

    def trained_as(self, configuration: Configuration, data: str) -> Configuration:
        """Return the configuration with the trainer that its model needs."""
        model = configuration.network.model
        known = self.facts.get((model, data)) if model is not None else None
        if known is None or not known.refusal or configuration.training.trainer != "fast":
            return configuration
        training = msgspec.structs.replace(configuration.training, trainer="keras-fit")
        return msgspec.structs.replace(configuration, training=training)

    def learn(self, key: Key, facts: ModelFacts) -> None:
        """Record the outcome of a trial."""
        self.facts[key] = facts
        self.wanted.pop(key, None)

    def forget_problems(self) -> None:
        """Forget the models that could not be trained, so that they are tried again."""
        self.facts = {key: facts for key, facts in self.facts.items() if not facts.problem}
