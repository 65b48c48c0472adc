"""The callback: it passes each epoch's logs to a thread that writes them; its own errors never end the fit."""

import contextlib
import functools
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from engine.core.limits import MAX_SEED, recording_problem
from engine.core.options import MAX_EPOCHS
from engine.core.recording import LEARNING_RATE
from engine.core.spec import Configuration, RecordedModel, Recording, RunSpec, Training
from svhn_tui.keras import model_facts
from svhn_tui.keras.recording import INTERRUPTED, RunRecorder
from svhn_tui.settings import WORKSPACE

P = ParamSpec("P")
Hook = Callable[Concatenate["Recorder", P], None]

MAX_WARNINGS = 5
_OPEN: dict[int, list[tuple[Mapping[str, Any], RunRecorder]]] = {}
"""The recordings by the thread of their fit, with the parameters that Keras passed to all callbacks of that fit.
Those of a training loop that was left without an end are ended when the next fit begins on its thread."""


def _harmless(hook: Hook[P]) -> Hook[P]:
    """Catch every error of a hook and print it as a line on stderr, so that the training continues."""

    @functools.wraps(hook)
    def guarded(self: "Recorder", /, *arguments: P.args, **named: P.kwargs) -> None:
        try:
            hook(self, *arguments, **named)
        except Exception as error:  # noqa: BLE001  the training continues after any error
            self.warn(f"{type(error).__name__}: {error}")

    return guarded


def _nothing(*_: object, **__: object) -> None:
    """Do nothing: the body of the hooks that are not needed."""


class Recorder:
    """Records `model.fit` as a run of a workspace: `model.fit(..., callbacks=[Recorder(name="my cnn")])`.

    It has the methods of a Keras callback and is not a subclass of it, so that it works with every version of Keras and
    loads none. A recorded run never counts as an answer to a question.
    """

    async_safe = True
    """Says to Keras on JAX that it need not wait for each batch."""

    def __init__(
        self,
        name: str = "",
        *,
        workspace: str | os.PathLike[str] | None = None,
        group: str = "",
        seed: int = 0,
        notes: str = "",
        tags: Iterable[str] = (),
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Store the run's name and settings; nothing is written before the fit begins.

        Args:
            name: of the run; without one, the model's own name. Runs of equal names and settings are grouped.
            workspace: the folder of the runs; without one SVHN_TUI_WORKSPACE, or `svhn-workspace` here.
            group: a common name for runs of several names.
            seed: of the program's random numbers.
            notes: a note on the run, which can be changed later.
            tags: of the run.
            settings: further ones, such as `{"batch_size": 64}`; those of the optimizer are read from it.
        """
        self.model: Any = None
        self.params: Mapping[str, Any] = {}
        self._name, self._group, self._seed = name, group, seed
        self._workspace = workspace
        self._notes, self._tags, self._settings = notes, tags, settings
        self._recording: RunRecorder | None = None
        self._began = 0.0
        self._thread = 0
        """Id of the thread in which the fit began."""
        self._is_unbuilt = False
        """Whether the fit began before the model was built."""
        self._has_schedule = False
        """Whether the learning rate follows a schedule, which no callback logs."""
        self._warnings: set[str] = set()

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Store the parameters of the fit, such as the number of epochs."""
        self.params = params or {}

    def set_model(self, model: Any) -> None:
        """Store the model that is trained."""
        self.model = model

    @_harmless
    def on_train_begin(self, logs: Mapping[str, object] | None = None) -> None:
        """Begin to record a run; if the first batch builds the model, recording begins after that batch."""
        self._thread, self._recording = threading.get_ident(), None
        before = _OPEN.pop(self._thread, [])
        for params, recording in before:
            if params is not self.params:
                recording.end(INTERRUPTED)
        _OPEN[self._thread] = [one for one in before if one[0] is self.params]
        self._is_unbuilt = not getattr(self.model, "built", True)
        if not self._is_unbuilt:
            self._begin()

    @_harmless
    def on_train_batch_end(self, batch: int, logs: Mapping[str, object] | None = None) -> None:
        """Begin to record a run whose model is built now."""
        if self._is_unbuilt:
            self._is_unbuilt = False
            self._begin()

    def _begin(self) -> None:
        spec = self._spec()
        if problem := recording_problem(spec):
            raise ValueError(problem)
        self._has_schedule = model_facts.follows_schedule(self.model)
        self._recording = RunRecorder(
            Path(self._workspace or os.environ.get("SVHN_TUI_WORKSPACE") or WORKSPACE).expanduser().absolute(),
            spec,
            (str(self._notes), tuple(map(str, self._tags))),
            model_facts.summary_of(self.model),
            self.warn,
        )
        _OPEN.setdefault(self._thread, []).append((self.params, self._recording))
        self._recording.start()

    @_harmless
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, object] | None = None) -> None:
        """Store the time."""
        self._began = time.perf_counter()

    @_harmless
    def on_epoch_end(self, epoch: int, logs: Mapping[str, object] | None = None) -> None:
        """Pass the epoch's logs to the thread that writes them."""
        if self._recording is None:
            return
        logs, seconds = dict(logs or {}), time.perf_counter() - self._began
        if self._has_schedule and LEARNING_RATE not in logs:
            logs[LEARNING_RATE] = model_facts.learning_rate_of(self.model)
        self._recording.add(epoch, logs, seconds)

    @_harmless
    def on_train_end(self, logs: Mapping[str, object] | None = None) -> None:
        """End the run; its thread writes the result."""
        if self._recording is not None:
            _OPEN.pop(self._thread, None)
            self._recording.end()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a function without effect for every other hook."""
        if name.startswith("on_"):
            return _nothing
        raise AttributeError(f"Recorder has no {name}")

    def wait(self, seconds: float = 60.0) -> bool:
        """Wait until the recorded run is on disk; return whether it is. Calling this is optional."""
        return self._recording is None or self._recording.wait(seconds)

    def warn(self, sentence: str) -> None:
        """Print a sentence on stderr, once."""
        line = " ".join("".join(sign if sign.isprintable() else " " for sign in sentence).split())
        if line in self._warnings or len(self._warnings) >= MAX_WARNINGS:
            return
        self._warnings.add(line)
        with contextlib.suppress(Exception):  # stderr may be closed, or anything that a notebook puts there
            print(f"svhn-tui Recorder: {line}", file=sys.stderr, flush=True)

    def _spec(self) -> RunSpec:
        name = model_facts.text_of(self._name or getattr(self.model, "name", "") or "model")
        group = model_facts.text_of(self._group)
        settings = model_facts.settings_of(self.model, self._settings or {})
        model = RecordedModel(group or name, model_facts.parameters_of(self.model), settings)
        epochs = min(max(1, int(self.params.get("epochs") or 1)), MAX_EPOCHS)
        recording = Recording(
            token=secrets.token_hex(8),
            started_at=time.time(),
            name=name if group else "",
            device=model_facts.device(),
            versions=model_facts.versions(),
        )
        seed = min(max(0, int(self._seed)), MAX_SEED)
        return RunSpec(Configuration(training=Training(epochs=epochs), recorded=model), seed, "", recording=recording)
