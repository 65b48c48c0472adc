"""A paced worker that says that it trains on the GPU that Slurm gave it, which is none: the CPU trains."""

import os
import sys

import msgspec

from engine import protocol as p
from engine.protocol.pipes import MessageWriter
from tests.support import paced_worker

ON_GPUS = {"SVHN_TUI_WORKER": f"{sys.executable} -P -m tests.slurm.gpu_worker"}
"""The environment of a host that starts such workers."""

write = MessageWriter.__call__


def write_with_gpu(self: MessageWriter, event: p.AnyEvent) -> None:
    if isinstance(event, p.WorkerChanged) and event.device:
        event = msgspec.structs.replace(event, device="gpu made-up")
    write(self, event)


if __name__ == "__main__":
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        MessageWriter.__call__ = write_with_gpu  # type: ignore[method-assign]
    paced_worker.main()
