"""A control: a worker that writes the result before the model, and that is killed between the two, once."""

import os
import signal
import tempfile
from pathlib import Path

from engine import protocol as p
from engine.training.worker import arguments, claim_cores, prepare_jax, serve


def main() -> int:
    given = arguments("careless worker")
    claim_cores(given.cores)
    prepare_jax()
    from engine.training.run import Run
    from engine.training.trainer import FinishedLane
    from engine.training.training_loop import Attempts

    write = Attempts._write

    def write_result_first(self: Attempts, data_set: p.DataSet, run: Run, lane: FinishedLane) -> p.RunResult:
        place = run.folder
        with tempfile.TemporaryDirectory(dir=place.parent.parent) as beside:
            run.folder = Path(beside)
            result = write(self, data_set, run, lane)
            (run.folder / "result.json").rename(place / "result.json")
            if not list(place.parent.glob("*/was-killed")):
                (place / "was-killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            (run.folder / "model.keras").rename(place / "model.keras")
            run.folder = place
        return result

    Attempts._write = write_result_first  # type: ignore[method-assign]
    return serve(given.name, "engine.training.jax_trainer:FastTrainer")


if __name__ == "__main__":
    raise SystemExit(main())
