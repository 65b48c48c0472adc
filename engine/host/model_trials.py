"""Tries own models, in processes of their own, before a worker gets a run of one."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine import protocol as p
from engine.core.own_model import ModelFacts, Trial
from engine.machine import child_process, tool_process
from engine.scheduling.known_models import Key
from engine.scheduling.queue import Queue
from engine.storage import approvals, sources

TRIAL_SECONDS = 300.0
"""How long building one may take, on a busy machine too."""
BACKENDS = ("jax", "tensorflow")


class ModelTrials:
    """Trials under way. `advance` is called when one has ended."""

    def __init__(self, root: Path, queue: Queue, publish: Callable[[p.AnyEvent], None], advance: Callable[[], None]):
        self._root, self._queue = root, queue
        self._publish, self._advance = publish, advance
        self._trying: dict[Key, asyncio.Task[None]] = {}

    def begin(self) -> None:
        """Try what waits for it; runs of a model that is of no use fail."""
        for key in tuple(self._queue.models.wanted):
            known = self._queue.models.facts.get(key)
            if known is not None:
                self._queue.learn(key, known)
            elif key not in self._trying:
                self._trying[key] = asyncio.create_task(self._try(key))

    async def close(self) -> None:
        """End what is under way."""
        for task in tuple(self._trying.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def source(self, sha256: str) -> str:
        """Return the text of a model file.

        Raises:
            OSError: it cannot be read.
        """
        return sources.read(self._root, sha256)

    async def _try(self, key: Key) -> None:
        try:
            facts = await self._facts(key)
        finally:
            self._trying.pop(key, None)
        self._queue.learn(key, facts)
        self._publish(p.ModelTried(model=key[0], data=key[1], facts=facts))
        self._advance()

    async def _facts(self, key: Key) -> ModelFacts:
        model, data = key[0], self._queue.data[key[1]]
        if problem := approvals.refusal(model.sha256):
            return ModelFacts(problem=problem)
        try:
            source = self.source(model.sha256)
        except OSError as error:
            return ModelFacts(problem=f"Its model file cannot be read: {error.filename}: {error.strerror}.")
        trial = Trial(model, data.shape, source)
        on_jax = await _tried(trial, "jax")
        if not on_jax.problem and not on_jax.refusal:
            return on_jax
        on_tensorflow = await _tried(trial, "tensorflow")
        if on_jax.problem and not on_tensorflow.problem:
            refusal = on_jax.problem.splitlines()[0].rstrip(".")
            return msgspec.structs.replace(on_tensorflow, refusal=refusal)
        return on_tensorflow if on_tensorflow.problem else on_jax


async def _tried(trial: Trial, backend: str) -> ModelFacts:
    command = child_process.tool("engine.tools.model_trial", backend)
    try:
        outcome = await asyncio.wait_for(tool_process.run_beside(command, msgspec.json.encode(trial)), TRIAL_SECONDS)
        return msgspec.json.decode(outcome.answer, type=ModelFacts)
    except TimeoutError:
        return ModelFacts(problem=f"Building its model takes longer than {TRIAL_SECONDS:.0f} s.")
    except (OSError, msgspec.MsgspecError):
        return ModelFacts(problem="The process that builds its model ended without a word; host.log may say more.")
