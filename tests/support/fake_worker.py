"""A stand-in for a worker that trains nothing: each run gets the accuracy that SVHN_TUI_TEST_ACCURACIES names for its
network (by label; else 0.5), and every message of the protocol a real worker would send.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import msgspec

from engine import protocol as p
from engine.core.layers import trainable_parameters
from engine.core.spec import RunSpec
from engine.machine.files import make_folder, write_atomically
from tests.support.epochs import epoch_ended


def result_of(spec: RunSpec, data: p.DataSet, accuracy: float, folder: Path) -> p.RunResult:
    content = spec.run_id.encode()
    (folder / "model.keras").write_bytes(content)
    return p.RunResult(
        run_id=spec.run_id, spec=spec, test_images=data.test_images, test_correct=round(accuracy * data.test_images),
        trainable_parameters=trainable_parameters(spec.configuration.network, data.shape),
        test_accuracy=accuracy, test_loss=1.0, accuracy=accuracy, loss=1.0, best_test_accuracy=accuracy, best_epoch=1,
        seconds=0.1, started_at=1.0, finished_at=2.0, model_sha256=hashlib.sha256(content).hexdigest(),
        model_bytes=len(content), device="none", versions={}, demo_data=data.is_demo,
    )  # fmt: skip


def tell(event: p.AnyEvent) -> None:
    sys.stdout.buffer.write(p.encode(event))
    sys.stdout.buffer.flush()


def main() -> None:
    accuracies = json.loads(os.environ.get("SVHN_TUI_TEST_ACCURACIES", "{}"))
    for line in sys.stdin.buffer:
        command = p.decode_worker_command(line)
        if not isinstance(command, p.Train):
            continue
        runs = tuple(spec.run_id for spec in command.specs)
        many = (0.5,) * len(runs)
        tell(p.RunStarted(group=command.group, runs=runs, specs=command.specs, worker="fake", device="none"))
        for epoch in range(1, command.specs[0].configuration.training.epochs + 1):
            tell(epoch_ended(group=command.group, runs=runs, epoch=epoch, loss=many, accuracy=many, test_loss=many,
                              test_accuracy=many, seconds=0.01, images_per_second=1e6))  # fmt: skip
        for spec in command.specs:
            folder = make_folder(Path(command.workspace) / "runs" / spec.run_id)
            write_atomically(folder / "spec.json", msgspec.json.encode(spec))
            accuracy = accuracies.get(spec.configuration.network.label, 0.5)
            result = result_of(spec, command.data, accuracy, folder)
            write_atomically(folder / "result.json", msgspec.json.encode(result))
            tell(p.RunFinished(result=result))


if __name__ == "__main__":
    main()
