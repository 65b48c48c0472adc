"""A stand-in for a worker that begins nothing before the file SVHN_TUI_TEST_GATE is there; it trains nothing then.

Stops are obeyed as a real worker does: between being given a run and beginning it.
"""

import os
import threading
import time
from pathlib import Path

import msgspec

from engine import protocol as p
from engine.machine.files import make_folder, write_atomically
from engine.protocol.pipes import MessageWriter, open_stdin
from engine.training.inbox import Inbox
from engine.training.worker import arguments
from tests.support.epochs import epoch_ended
from tests.support.fake_worker import result_of

TOLD_TO_STOP = "The worker was told to stop a run that it has not begun."


def main() -> None:
    given = arguments("gated worker")
    tell, inbox, gate = MessageWriter(os.fdopen(os.dup(1), "wb")), Inbox(), Path(os.environ["SVHN_TUI_TEST_GATE"])
    threading.Thread(target=inbox.read, args=(open_stdin(),), daemon=True).start()
    tell(p.WorkerChanged(worker=given.name, state="ready", pid=os.getpid(), node="here"))
    while task := inbox.next():
        is_told = False
        while not gate.exists() and not inbox.stop_of(""):
            if not is_told and any(inbox.stop_of(spec.run_id) for spec in task.specs):
                is_told = True
                tell(p.Noticed(text=TOLD_TO_STOP))
            time.sleep(0.02)
        for spec in task.specs:
            if stop := inbox.stop_of(spec.run_id):
                paused = p.RunPaused(run_id=spec.run_id)
                tell(paused if stop.why == "paused" else p.RunInterrupted(run_id=spec.run_id, reason=stop.reason))
            else:
                train(task, spec.run_id, tell)
        inbox.forget([spec.run_id for spec in task.specs])


def train(task: p.Train, run_id: str, tell: MessageWriter) -> None:
    (spec,) = (some for some in task.specs if some.run_id == run_id)
    folder, values = make_folder(Path(task.workspace) / "runs" / run_id), (0.5,)
    tell(p.RunStarted(group=task.group, runs=(run_id,), specs=(spec,), worker="gated", device="none"))
    tell(epoch_ended(group=task.group, runs=(run_id,), epoch=1, loss=values, accuracy=values, test_loss=values,
                      test_accuracy=values, seconds=0.01, images_per_second=1e6))  # fmt: skip
    with (folder / "times-trained").open("a") as log:
        log.write("once\n")
    write_atomically(folder / "spec.json", msgspec.json.encode(spec))
    result = result_of(spec, task.data, 0.5, folder)
    write_atomically(folder / "result.json", msgspec.json.encode(result))
    for _ in range(2):  # told twice, as by a line that was sent again: it counts once
        tell(p.RunFinished(result=result))


if __name__ == "__main__":
    main()
