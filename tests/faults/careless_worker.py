"""A control: a worker that writes the result before the model, and that is killed between the two, once."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.core.results import RunResult
from engine.storage.run_folder import RunFolder
from engine.training.worker import arguments, claim_cores, prepare_jax, serve


def write_result_first(
    self: RunFolder,
    attempt: str,
    save: Callable[[Path], int],
    outcome: Callable[[Path, int], RunResult],
    record: Callable[[RunResult], object],
) -> RunResult:
    beside = self.path / "beside.keras"
    result = outcome(beside, save(beside))
    record(result)
    (self.path / "result.json").write_bytes(msgspec.json.encode(result))
    if not list(self.path.parent.glob("*/was-killed")):
        (self.path / "was-killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    beside.rename(self.path / "model.keras")
    return result


def main() -> int:
    given = arguments("careless worker")
    claim_cores(given.cores)
    prepare_jax()
    RunFolder.finish = write_result_first  # type: ignore[method-assign]
    return serve(given.name, "engine.training.auto_trainer:AutoTrainer")


if __name__ == "__main__":
    raise SystemExit(main())
