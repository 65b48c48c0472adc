"""A stand-in for a worker that trains nothing and is never done: an epoch every now and then, until it is let go."""

import os
import sys
import threading
import time

from engine import protocol as p
from tests.support.epochs import epoch_ended
from tests.support.fake_worker import tell

PATIENT = {"SVHN_TUI_WORKER": f"{sys.executable} -m tests.faults.patient_worker"}
"""The environment of a host that starts such workers."""
SECONDS = 0.05


def train(command: p.Train) -> None:
    runs = tuple(spec.run_id for spec in command.specs)
    many = (0.5,) * len(runs)
    tell(p.RunStarted(group=command.group, runs=runs, specs=command.specs, worker="patient", device="none"))
    for epoch in range(1, command.specs[0].configuration.training.epochs + 1):
        time.sleep(SECONDS)
        tell(epoch_ended(group=command.group, runs=runs, epoch=epoch, loss=many, accuracy=many, test_loss=many,
                          test_accuracy=many, seconds=SECONDS, images_per_second=1e6))  # fmt: skip


def main() -> None:
    for line in sys.stdin.buffer:
        command = p.decode_worker_command(line)
        if isinstance(command, p.Train):
            threading.Thread(target=train, args=(command,), daemon=True).start()
    os._exit(0)


if __name__ == "__main__":
    main()
