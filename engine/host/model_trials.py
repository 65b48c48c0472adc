"""Builds each own model in a process of its own, a trial, before a worker gets a run of it."""

import asyncio
import contextlib
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine import protocol as p
from engine.core.own_model import ModelFacts, Trial
from engine.core.spec import RunSpec, short_hash
from engine.machine import child_process, json_file, system, tool_process
from engine.machine.tool_process import Outcome
from engine.machine.user_folders import cache_folder
from engine.scheduling.known_models import Key
from engine.scheduling.queue import Queue
from engine.storage import approvals, sources
from engine.training.preflight import versions

TRIAL_SECONDS = 300.0
"""Time limit of a trial in seconds, sufficient on a busy machine. Its process reports the line at which it was then."""
GRACE_SECONDS = 15.0
"""Further seconds after which a silent process is killed: a library's code may not return to Python."""
MOST_AT_ONCE = 8
"""Most trials at a time, each of which loads Keras and JAX: a grid over parameters has hundreds."""
FORMAT = 1
"""Version of the outcomes in the cache: increased when trials report something else."""


class ModelTrials:
    """The trials in progress.

    Args:
        root: of the workspace.
        queue: holds the runs that wait for trials, and what trials found out about models.
        publish: sends an event to all clients.
        advance: is called when a trial has ended.
    """

    def __init__(self, root: Path, queue: Queue, publish: Callable[[p.AnyEvent], None], advance: Callable[[], None]):
        self._root, self._queue = root, queue
        self._publish, self._advance = publish, advance
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(max(2, min(MOST_AT_ONCE, len(system.usable_cores()) // 4)))
        self._cancelled: set[asyncio.Task[None]] = set()
        """Cancelled trials whose processes have not ended yet."""

    def begin(self) -> None:
        """Start the trials for which runs wait, and cancel those for which none waits any more.

        The runs of a model that cannot be trained fail.
        """
        models = self._queue.models
        for key in tuple(models.wanted):
            known = models.facts.get(key)
            if not self._queue.needs_trial(key):
                self._cancel(key)
            elif known is not None:
                self._queue.learn(key, known)
            elif key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._try(key))

    def _cancel(self, key: Key) -> None:
        self._queue.models.trials.pop(key, None)
        if task := self._tasks.pop(key, None):
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)
            task.cancel()

    async def close(self) -> None:
        """Cancel the trials in progress."""
        for key in tuple(self._tasks):
            self._cancel(key)
        await asyncio.gather(*self._cancelled, return_exceptions=True)

    def handed_over(self, spec: RunSpec) -> tuple[str, str, str]:
        """Return the text and name of a run's model file, and a remark on its training; empty for a run without one.

        Where the file cannot be read any more, the runs of its model fail.
        """
        model = spec.configuration.network.model
        if model is None:
            return "", "", ""
        models = self._queue.models
        try:
            text = sources.read(self._root, model.sha256)
        except OSError as error:
            self._queue.learn((model, spec.data), _unreadable(error))
            return "", "", ""
        return text, models.names.get(model.sha256, ""), models.facts[model, spec.data].remark

    async def _try(self, key: Key) -> None:
        try:
            async with self._slots:
                facts = await self._facts(key)
        except Exception:  # noqa: BLE001  a defect here fails the model's runs, and the host continues
            traceback.print_exc()
            facts = ModelFacts(problem="Its model cannot be tried; host.log in the workspace says why.")
        del self._tasks[key]
        self._queue.models.trials.pop(key, None)
        self._queue.learn(key, facts)
        self._publish(p.ModelTried(model=key[0], data=key[1], facts=facts))
        self._advance()

    async def _facts(self, key: Key) -> ModelFacts:
        model, data = key[0], self._queue.data[key[1]]
        if problem := approvals.refusal(model.sha256):
            return ModelFacts(problem=problem)
        try:
            source = sources.read(self._root, model.sha256)
        except OSError as error:
            return _unreadable(error)
        trial = Trial(model, data.shape, source, self._queue.models.names.get(model.sha256, ""))
        return await outcome_of(trial, data.fingerprint, self._report)

    def _report(self, started: p.TrialStarted) -> None:
        self._queue.models.trials[started.model, started.data] = started
        self._publish(started)


async def outcome_of(trial: Trial, data: str, report: Callable[[p.TrialStarted], None]) -> ModelFacts:
    """Return the outcome of a trial; that of a successful one is cached.

    Args:
        trial: the model.
        data: the fingerprint of the data set whose shape it has.
        report: is called when a trial that is not in the cache starts.
    """
    if known := _cached(trial):
        return known
    file = trial.name or f"{sources.MODELS}/{trial.model.sha256[:12]}….py"
    report(p.TrialStarted(model=trial.model, data=data, file=file, started_at=time.time(), seconds=TRIAL_SECONDS))
    facts = await _try_out(trial)
    if not facts.problem:
        _cache(trial, facts)
    return facts


async def _try_out(trial: Trial) -> ModelFacts:
    """Build the model on JAX, and where JAX cannot compile it, on TensorFlow in the time that is left."""
    ends = time.monotonic() + TRIAL_SECONDS
    on_jax = await _tried(trial, "jax", TRIAL_SECONDS)
    left = ends - time.monotonic()
    if left < 1 or (not on_jax.problem and not on_jax.refusal):
        return on_jax
    on_tensorflow = await _tried(trial, "tensorflow", left)
    if on_jax.problem and not on_tensorflow.problem:
        refusal = on_jax.problem.splitlines()[0].rstrip(".")
        return msgspec.structs.replace(on_tensorflow, refusal=refusal)
    return on_tensorflow if on_tensorflow.problem else on_jax


def _unreadable(error: OSError) -> ModelFacts:
    return ModelFacts(problem=f"Its model file cannot be read: {error.filename}: {error.strerror}.")


def _cache_file(trial: Trial) -> Path:
    """Return the file that caches the outcome of a trial with these versions of program and libraries."""
    about = (trial.model, trial.shape, sorted({**versions("fast"), **versions("keras-fit")}.items()), FORMAT)
    return cache_folder("models") / f"{short_hash(msgspec.json.encode(about).hex())}.json"


def _cached(trial: Trial) -> ModelFacts | None:
    with contextlib.suppress(OSError):
        return json_file.read(_cache_file(trial), ModelFacts)
    return None


def _cache(trial: Trial, facts: ModelFacts) -> None:
    """Cache an outcome; where that fails, the next host tries the model again."""
    with contextlib.suppress(OSError):
        json_file.write(_cache_file(trial), facts)


async def _tried(trial: Trial, backend: str, seconds: float) -> ModelFacts:
    """Build the model on one backend, with a time limit in seconds."""
    command = child_process.tool("engine.tools.model_trial", backend, f"{seconds:.0f}")
    try:
        async with asyncio.timeout(seconds + GRACE_SECONDS):
            outcome = await tool_process.run_beside(command, msgspec.json.encode(trial), leads_group=True)
        return msgspec.json.decode(outcome.stdout, type=ModelFacts)
    except TimeoutError:
        return ModelFacts(problem=f"Building its model takes longer than {TRIAL_SECONDS:.0f} s.")
    except msgspec.MsgspecError:
        return ModelFacts(problem=_ended(outcome))
    except OSError as error:
        return ModelFacts(problem=f"The process that builds its model cannot be started: {error.strerror}.")


def _ended(outcome: Outcome) -> str:
    """Return a sentence on a process that ended without an outcome: a model file may end it, or fill the memory."""
    clue = "; memory may have run out" if outcome.status == -signal.SIGKILL else ""
    return f"The process that builds its model {outcome.how_ended}{clue}."
