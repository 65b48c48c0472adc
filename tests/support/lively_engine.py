"""A stand-in for `python -m engine` that does at once what screens ask for, and trains nothing.

    SVHN_TUI_ENGINE="python -m tests.support.lively_engine" svhn-tui

It begins with some finished runs, one group in training and a queue; with `--fresh` without any of them. After
`--dies-after` commands it ends without a word, as a lost line does.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from engine import protocol as p
from engine.core import sweep
from engine.core.spec import RunSpec
from tests.support.scenes import DATA, finished, group_of, history, relu, result, specs_of, tanh, waiting

SIDES = ((tanh(256), 3, 0.5), (relu(256), 3, 0.55), (relu(64, 64), 2, 0.6))
CONFUSION = tuple(tuple(40 if seed == true else (true + seed) % 7 for seed in range(10)) for true in range(10))
PIXELS = bytes(range(256)) * 12
"""Of 32 x 32 pixels in red, green and blue."""


class Engine:
    """What a host knows, and what it answers."""

    def __init__(self) -> None:
        self.results: dict[str, p.RunResult] = {}
        self.notes: dict[str, p.Note] = {}
        self.trash: dict[str, p.RunResult] = {}
        self.queue: tuple[p.WaitingRun, ...] = ()
        self.statements: dict[str, tuple[p.Statement, ...]] = {}

    def begin(self, workspace: str, *, is_fresh: bool) -> Iterator[p.AnyEvent]:
        """Tell all that there is."""
        if not is_fresh:
            self.results = dict(finished(*SIDES).results)
            self.queue = waiting("Q9", specs_of(relu(64), 4)) + waiting("Q9", specs_of(relu(1024), 3))
        yield p.Attached(workspace=workspace, host_pid=os.getpid(), versions={}, data=DATA)
        yield p.RunsRead(results=tuple(self.results.values()))
        yield p.RunsQueued(waiting=self.queue)
        if not is_fresh:
            yield from group_of("g0", specs_of(relu(256, 64), 3), 70, 0.57)
        yield p.CaughtUp()

    def answer(self, command: p.AnyCommand) -> Iterator[p.AnyEvent]:
        """Do what is asked, and tell it."""
        match command:
            case p.OpenData():
                yield p.DataOpened(data=DATA, request=command.request)
            case p.Submit():
                yield from self._train(command)
            case p.Pause() | p.Resume():
                named = command.runs or tuple(run.run_id for run in self.queue)
                yield p.RunsHeld(runs=named, paused=isinstance(command, p.Pause))
            case p.Cancel():
                yield from (p.RunInterrupted(run_id=run_id, reason="stopped") for run_id in command.runs)
                yield p.RunsUnqueued(runs=command.runs)
                self.queue = tuple(run for run in self.queue if run.run_id not in command.runs)
            case p.Reprioritise():
                moved = tuple(run for run in self.queue if run.run_id in command.runs)
                yield p.RunsUnqueued(runs=command.runs)
                yield p.RunsQueued(waiting=moved, index=command.index)
            case p.Delete():
                for run_id in command.runs:
                    if run_id in self.results:
                        self.trash[run_id] = self.results.pop(run_id)
                        yield p.RunDeleted(run_id=run_id)
            case p.Restore():
                back = {run_id: self.trash.pop(run_id) for run_id in command.runs if run_id in self.trash}
                self.results |= back
                yield p.RunsRead(results=tuple(back.values()))
            case p.ReadTrash():
                yield p.TrashRead(results=tuple(self.trash.values()))
            case p.Annotate():
                yield p.NoteChanged(note=p.Note(command.run_id, command.text, command.tags))
            case p.Choose():
                yield p.ChoiceChanged(question=command.question, run_id=command.run_id)
            case p.Judge():
                others = (some for some in self.statements.get(command.question, ()) if some.text != command.replaces)
                self.statements[command.question] = (*others, *((command.statement,) if command.statement else ()))
                yield p.Judged(question=command.question, statements=self.statements[command.question])
            case p.Watch():
                yield from (p.HistoryRead(run_id=run_id, history=history(100, 0.5, 1)) for run_id in command.runs)
            case p.CheckFiles():
                yield p.FilesChecked(hashes=dict.fromkeys(command.runs, "00"))
            case p.Inspect():
                pictures = tuple(p.Picture(label, PIXELS, (label + 1) % 10, 0.9) for label in range(10))
                yield p.Inspected(
                    run_id=command.run_id, confusion=CONFUSION if command.run_id else (), pictures=pictures
                )
            case _:
                yield p.Refused(command=type(command).__name__, reason="It is a stand-in.", request=command.request)

    def _train(self, command: p.Submit) -> Iterator[p.AnyEvent]:
        accuracies = {run_id: some.test_accuracy for run_id, some in self.results.items()}
        lacking = sweep.missing(command.sweep, accuracies)
        missing = tuple(spec.run_id for spec in lacking)
        yield p.SweepSubmitted(sweep=command.sweep, missing=missing, request=command.request)
        for spec in lacking[:5]:
            yield from group_of(f"of {spec.run_id}", (spec,), 3, 0.5)
            yield self._finished(spec)

    def _finished(self, spec: RunSpec) -> p.RunFinished:
        self.results[spec.run_id] = result(spec, 0.4 + spec.seed / 100)
        return p.RunFinished(result=self.results[spec.run_id])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--dies-after", type=int, default=0)
    wish = parser.parse_args()
    engine, out = Engine(), sys.stdout.buffer
    out.writelines(map(p.encode, engine.begin(str(wish.workspace), is_fresh=wish.fresh)))
    out.flush()
    for count, line in enumerate(sys.stdin.buffer, start=1):
        out.writelines(map(p.encode, engine.answer(p.decode_command(line))))
        out.flush()
        if count == wish.dies_after:
            return


if __name__ == "__main__":
    main()
