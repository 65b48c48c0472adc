"""`export --tensorboard`: the finished runs of a workspace as TensorBoard reads them, and those in training."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from engine import protocol as p
from engine.core.results import EpochRow
from engine.core.spec import Configuration
from svhn_tui import words
from svhn_tui.cli.exit_codes import DONE, FAILED
from svhn_tui.client.session import Session, connected, read_curves
from svhn_tui.client.state import State
from svhn_tui.export import tensorboard
from svhn_tui.terminal.printing import print_error, print_text


async def export_to(folder: Path, workspace: Path, *, follows: bool, is_read_only: bool = False) -> int:
    """Write all finished runs; then, if requested, those in training, until the host ends or Ctrl-C is pressed."""
    if importlib.util.find_spec("tensorboard") is None:
        print_error("TensorBoard is not installed here; it comes with TensorFlow (`pip install tensorboard`).")
        return FAILED
    folder = folder.expanduser().absolute()
    async with connected(workspace, is_read_only=is_read_only) as session:
        runs = tuple(session.state.results.values())
        await read_curves(session, (run.run_id for run in runs))
        looked_at = () if is_read_only else best_of_each(runs, session.state.data)
        for run in runs:
            confusion = await _confusion(session, run.run_id) if run in looked_at else ()
            rows = session.state.history(run.run_id).rows
            tensorboard.write_run(folder, run, rows, confusion, _labels(session.state))
        print_text(f"{words.plural(len(runs), 'run')} in {folder}: tensorboard --logdir {folder}")
        if follows:
            await _follow(session, folder)
    return DONE


def best_of_each(runs: Iterable[p.RunResult], data: p.DataSet | None) -> tuple[p.RunResult, ...]:
    """Return the best run of each configuration on the data in use: inspecting one needs a process and seconds."""
    best: dict[Configuration, p.RunResult] = {}
    for run in runs:
        if run.is_recorded or run.diverged or data is None or run.spec.data != data.fingerprint:
            continue
        known = best.get(run.spec.configuration)
        if known is None or run.accuracy_or_nan > known.accuracy_or_nan:
            best[run.spec.configuration] = run
    return tuple(best.values())


async def _confusion(session: Session, run_id: str) -> tuple[tuple[int, ...], ...]:
    """Request a run's confusion matrix; None if it is not available, which is printed."""
    event = await session.answer(p.Inspect(run_id=run_id), or_when=lambda state: run_id in state.inspected)
    inspected = session.state.inspected.get(run_id)
    problem = event.reason if isinstance(event, p.Refused) else inspected.problem if inspected is not None else ""
    if problem:
        print_error(f"{run_id} has no confusion picture: {problem}")
    return inspected.confusion if inspected is not None else ()


def _labels(state: State) -> tuple[str, ...]:
    return state.data.labels if state.data is not None else ()


async def _follow(session: Session, folder: Path) -> None:
    """Append each new epoch."""
    live: dict[str, tensorboard.LiveRun] = {}

    def rows_of(run_id: str) -> tuple[EpochRow, ...]:
        return tuple(session.state.history(run_id).rows)

    def write(runs: Iterable[str]) -> None:
        for run_id in runs:
            known = session.state.live.get(run_id)
            if known is None or not known.history.epochs:
                continue
            if run_id in live:
                live[run_id].add(rows_of(run_id))
            else:
                live[run_id] = tensorboard.LiveRun(folder, known.spec, rows_of(run_id))

    def is_over(state: State, event: p.AnyEvent) -> bool:
        match event:
            case p.EpochEnded():
                write(event.runs)
            case p.RunFinished(result=result):
                live.pop(result.run_id, None)
                tensorboard.write_run(folder, result, rows_of(result.run_id), (), _labels(state))
            case _:
                pass
        return isinstance(event, p.HostEnded)

    write(session.state.running)
    await session.until(is_over)
