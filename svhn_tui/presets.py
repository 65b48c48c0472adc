"""`experiments.json` as values: questions, their networks and what is handed in.

Pure, except for questions about its model files: their current content, and whether the user approved them.
"""

import difflib
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, Literal

import msgspec

from engine.core.data_source import DataSource
from engine.core.spec import Configuration, Network, Training, Value
from engine.core.sweep import FinalistRule, Sweep
from engine.protocol import Submit
from engine.storage import approvals
from svhn_tui import model_files

PARAMS = "params."
"""Prefix of the name of a model file's parameter in a grid."""
EXPORT_PAGES = ("answers.json", "answers.md", "report.html", "runs.csv")
"""What an export writes beside the files that are handed in, and under no other name."""

QuestionKind = Literal["code", "training", "answer", "choice"]


class PresetError(ValueError):
    """The file cannot be used, or defines nothing of this name; the message says where and why."""


class Upload(Value, frozen=True):
    """A file to hand in; `limit_mib` is the grader's limit in MiB."""

    file: str
    limit_mib: float | None = None


class AnswerFormat(Value, frozen=True):
    """How an answer is written.

    `file`: `number_param, test_acc` of the file of question `of`. `means`: the mean test accuracy of each network.
    `best`: `config, test_acc, num_params` of the best network, `config` being its 0-based index.
    """

    format: Literal["file", "means", "best"]
    of: str | None = None
    decimals: int = 4


class Question(Value, frozen=True):
    """One question of the assignment."""

    id: str
    kind: QuestionKind
    title: str
    text: str
    points: int = 0
    networks: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    training: dict[str, Any] = {}
    """Training settings of this question that differ from the file's `training`."""
    grid: dict[str, tuple[Any, ...]] = {}
    """Settings of `training` that take several values: every network is trained with every combination."""
    finalists: FinalistRule | None = None
    answer: AnswerFormat | None = None
    upload: Upload | None = None
    evidence: tuple[str, ...] = ()
    """Questions whose runs a multiple-choice question is about."""
    data: str = ""
    """The data set that it is about, one of the file's `data`; empty: the one in use."""
    own: bool = False
    """A sweep of the user's own, which is not part of the assignment."""


class ModelFile(Value, frozen=True):
    """A file of the user's that builds models: its path, and its text as it was read."""

    path: str
    text: str


class Presets(Value, frozen=True):
    """The whole file."""

    format: Literal[1]
    title: str
    networks: dict[str, Network]
    questions: tuple[Question, ...]
    training: Training = Training()
    data: dict[str, DataSource] = {}
    """Data sets by name, for questions that are not about the one in use; without --data the first one is in use."""
    sources: dict[str, ModelFile] = {}
    """The model files that it names, by SHA-256; their text is read with the file and is not part of it."""

    def data_of(self, question: Question) -> str:
        """Return the name of the data set that a question is about; empty: the one in use."""
        if not question.data and question.answer is not None and question.answer.of is not None:
            return self.question(question.answer.of).data
        return question.data

    def question(self, name: str) -> Question:
        """Return the question of this id, whatever its case.

        Raises:
            PresetError: there is none.
        """
        for question in self.questions:
            if question.id.lower() == name.lower():
                return question
        ids = [question.id for question in self.questions]
        raise PresetError(f"There is no question {name[:40]!r}: {choices(name[:40], ids)}")

    @property
    def assignment(self) -> tuple[Question, ...]:
        """The questions without sweeps of the user's own."""
        return tuple(question for question in self.questions if not question.own)

    def training_of(self, question: Question) -> Training:
        """Return the training settings that the question asks for."""
        return msgspec.convert({**msgspec.to_builtins(self.training), **question.training}, Training)

    def configurations(self, question: Question) -> tuple[Configuration, ...]:
        """Return the question's configurations in the order of the file."""
        base = msgspec.to_builtins(self.training_of(question))
        grid = {name: values for name, values in question.grid.items() if not name.startswith(PARAMS)}
        each = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
        trainings = [msgspec.convert({**base, **settings}, Training) for settings in each]
        varied = {name: values for name, values in question.grid.items() if name.startswith(PARAMS)}
        return tuple(Configuration(network, training) for name in question.networks
                     for network in model_files.varied(self.networks[name], varied)
                     for training in trainings)  # fmt: skip

    def sweep(self, question: Question, data: str) -> Sweep | None:
        """Return the sweep that the question needs, or None; a question about another's file needs that file's run."""
        if question.answer is not None and question.answer.of is not None:
            return self.sweep(self.question(question.answer.of), data)
        if not question.networks or not question.seeds:
            return None
        return Sweep(question.id, data, self.configurations(question), question.seeds, question.finalists)

    def submit(self, sweep: Sweep) -> Submit:
        """Return the command that trains a sweep, with the model files that it needs and the user approved."""
        named = sorted(models_of(sweep.configurations) & self.sources.keys())
        approved = [self.sources[sha256] for sha256 in named if approvals.is_approved(sha256)]
        names = tuple(Path(file.path).name for file in approved)
        return Submit(sweep=sweep, sources=tuple(file.text for file in approved), source_names=names)

    def unapproved(self, configurations: Iterable[Configuration]) -> dict[str, ModelFile]:
        """Return the model files of these configurations that the user has not approved, by their SHA-256."""
        named = models_of(configurations)
        return {sha256: file for sha256, file in self.sources.items()
                if sha256 in named and not approvals.is_approved(sha256)}  # fmt: skip

    def changed_files(self) -> tuple[str, ...]:
        """Return the names of the model files whose content changed since they were read."""
        return tuple(path.name for file in self.sources.values()
                     if not model_files.is_text_of(path := Path(file.path), file.text))  # fmt: skip


def models_of(configurations: Iterable[Configuration]) -> set[str]:
    """Return the SHA-256 of each model file of these configurations."""
    return {some.network.model.sha256 for some in configurations if some.network.model is not None}


def choices(wrong: str, known: Iterable[str]) -> str:
    """Name the nearest of the known names, or else all of them."""
    known = tuple(known)
    nearest = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known)}."
