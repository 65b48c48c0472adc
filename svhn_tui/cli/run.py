"""`svhn-tui run`: training without a screen, printed as bars, plain lines or JSON."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.text import Text

from engine import protocol as p
from engine.core import sweep as plan
from engine.core.spec import RunSpec
from engine.core.sweep import Sweep
from svhn_tui import words
from svhn_tui.analysis.notices import Milestones
from svhn_tui.analysis.openings import openings_of
from svhn_tui.analysis.progress import Overrides, ProgressRow, cheapest_first, plan_text, progress_of, sweep_for
from svhn_tui.assignment import answers as answering
from svhn_tui.cli.exit_codes import DONE, FAILED, INTERRUPTED, TIME_OVER
from svhn_tui.cli.notify import Notifier
from svhn_tui.cli.run_output import JsonLines, Reporter
from svhn_tui.client.bridge import LinkLost
from svhn_tui.client.session import ANSWER_SECONDS, Session, connected, open_data
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question
from svhn_tui.terminal.printing import Plain, print_error

CANCELLED = "it was cancelled or deleted meanwhile."
NOTHING_TO_TRAIN = "Nothing to train: these questions ask for code or for what follows from other questions' runs."
TIME_IS_OVER = "The time is over; the same command continues from the checkpoints."


class RunOptions(msgspec.Struct, frozen=True):
    """The options of `svhn-tui run`."""

    questions: Sequence[Question]
    overrides: Overrides
    source: tuple[str, ...]
    on_interrupt: str | None = None
    stop_after: float | None = None
    """Seconds after which everything is checkpointed and training ends."""
    fleet: p.Fleet | None = None
    """Where to train; None: as before."""
    notify: tuple[str, ...] = ()
    """The command that receives notices of completion, failure and divergence; empty: none."""
    layout: str = ""
    """The order of the images' axes, if their shape is ambiguous."""


async def train(workspace: Path, book: Presets, options: RunOptions, reporter: Reporter) -> int:
    """Train the missing runs of the questions, report progress, print the answers; return the exit code."""
    notifier = Notifier(options.notify, Milestones(options.questions, book))
    try:
        return await _follow(workspace, book, options, reporter, notifier)
    finally:
        await notifier.close()


async def _follow(workspace: Path, book: Presets, options: RunOptions, reporter: Reporter, notifier: Notifier) -> int:
    def receive(event: p.AnyEvent, state: State) -> None:
        reporter.receive(event, state)
        notifier.receive(event, state)

    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    try:
        async with connected(workspace, receive) as session:
            training = asyncio.create_task(_train(session, book, options, reporter))
            waiting = asyncio.create_task(interrupted.wait())
            await asyncio.wait((training, waiting), timeout=options.stop_after, return_when=asyncio.FIRST_COMPLETED)
            if not training.done():
                reporter.close()
                if interrupted.is_set():
                    return await _interrupt(session, training, options.on_interrupt)
                await _stop(session, training, TIME_IS_OVER)
                notifier.add_sentence(TIME_IS_OVER)
                return TIME_OVER
            waiting.cancel()
            problem = training.result()
            reporter.close()
            if problem:
                print_error(problem)
                notifier.add_sentence(f"Not all is trained: {problem}")
                return FAILED
            if not isinstance(reporter, JsonLines):
                _print_outcome(session.state, book, options)
            return DONE
    except LinkLost as error:
        reporter.close()
        print_error(str(error))
        notifier.add_sentence(str(error))
        return FAILED


async def _train(session: Session, book: Presets, options: RunOptions, reporter: Reporter) -> str:
    """Submit the sweeps, the cheapest first, and wait for their runs; return the error, or an empty text."""
    if not any(book.sweep(question, "") for question in options.questions):
        return NOTHING_TO_TRAIN
    if options.fleet is not None:
        answer = await session.answer(p.SetFleet(fleet=options.fleet, on_command_line=True))
        if isinstance(answer, p.Refused):
            return answer.reason
    names = {book.data_of(question) for question in options.questions}
    data = await open_data(session, *openings_of(book, options.source, options.layout, names))
    if isinstance(data, str):
        return data
    sweeps = [sweep_for(question, book, session.state, options.overrides) for question in options.questions]
    asked = cheapest_first([sweep for sweep in sweeps if sweep is not None], session.state)
    reporter.add_sentence(plan_text(asked, session.state))
    for sweep in asked:
        answer = await session.answer(book.submit(sweep))
        if isinstance(answer, p.Refused):
            return answer.reason
    cancelled = await _until_trained(session, asked)
    failed = {run_id: live.reason for run_id, live in session.state.live.items() if live.status == "failed"}
    reasons = {**failed, **dict.fromkeys(cancelled, CANCELLED)}
    lacking = [
        f"{spec.configuration.label}, seed {spec.seed}: {words.on_one_line(reasons[spec.run_id]).removesuffix('.')}"
        for spec in missing(session.state, asked)
    ]
    return "; ".join(lacking) + "." * bool(lacking)


def missing(state: State, sweeps: Sequence[Sweep]) -> list[RunSpec]:
    """Return the missing runs of these sweeps."""
    return [spec for sweep in sweeps for spec in plan.missing(sweep, state.accuracies)]


async def _until_trained(session: Session, sweeps: Sequence[Sweep]) -> set[str]:
    """Wait until no run of these sweeps is still to come; return those that were cancelled or deleted meanwhile.

    The sweeps are examined again only when no run is still to come: a second stage may be known then, or a failed run
    may have been resumed.
    """
    waited = _unfinished(session.state, sweeps)
    cancelled: set[str] = set()

    def are_trained(state: State, event: p.AnyEvent) -> bool:
        match event:
            case p.RunFinished():
                waited.discard(event.result.run_id)
            case p.RunFailed():
                waited.discard(event.run_id)
            case p.RunsCancelled():
                cancelled.update(event.runs)
            case p.RunDeleted():
                cancelled.add(event.run_id)
            case p.RunsQueued():
                cancelled.difference_update(run.run_id for run in event.waiting)
            case _:
                pass
        waited.difference_update(cancelled)
        if not waited:
            waited.update(_unfinished(state, sweeps) - cancelled)
        return not waited

    if waited:
        await session.until(are_trained)
    return cancelled


def _unfinished(state: State, sweeps: Sequence[Sweep]) -> set[str]:
    """Return the runs that are still to come, without failed ones."""
    ended = {run_id for run_id, live in state.live.items() if live.status == "failed"}
    return {run_id for spec in missing(state, sweeps) if (run_id := spec.run_id) not in ended}


async def _interrupt(session: Session, training: asyncio.Task[str], choice: str | None) -> int:
    if choice is None and sys.stdin.isatty():
        print(
            "\nTraining can continue in the background. [d]etach (enter), or [s]top it with a checkpoint? ",
            end="",
            flush=True,
        )
        choice = "stop" if (await asyncio.to_thread(sys.stdin.readline)).strip().lower().startswith("s") else "detach"
    if choice == "stop":
        await _stop(session, training, "Stopped; the same command continues from the checkpoints.")
    else:
        training.cancel()
        print("Detached: training continues. `svhn-tui status` shows it, `svhn-tui stop` ends it.", file=sys.stderr)
    return INTERRUPTED


async def _stop(session: Session, training: asyncio.Task[str], sentence: str) -> None:
    """Let the host checkpoint everything and end, which ends the task that reads its events."""
    await session.ask(p.Shutdown())
    with contextlib.suppress(LinkLost, TimeoutError):
        await asyncio.wait_for(training, ANSWER_SECONDS)
    print(sentence, file=sys.stderr)


def _print_outcome(state: State, book: Presets, options: RunOptions) -> None:
    """Print the number of trained runs, their folder, and the answers."""
    console = Plain()
    for question in options.questions:
        progress = progress_of(question, book, state, options.overrides)
        console.print(Text(f"{question.id}  {question.title}", style="bold"))
        for row in progress.rows:
            console.print(Text(f"  {_row_text(row)}"), soft_wrap=True)
        if question.upload and progress.rows:
            folder = Path(state.workspace) / "runs" / progress.rows[0].runs[0]
            console.print(Text(f"  {folder / 'model.keras'}"), soft_wrap=True)
    sweeps = [sweep_for(question, book, state, options.overrides) for question in options.questions]
    distinct = {spec.run_id for sweep in sweeps if sweep for spec in plan.asked(sweep, state.accuracies)}
    done = len(distinct & set(state.results))
    console.print(Text(f"{done} of {words.plural(len(distinct), 'distinct run')} done"))
    named = {question.id for question in options.questions}
    for answer in answering.all_answers(book, state):
        about = book.question(answer.question).answer
        if answer.text and about and (answer.question in named or about.of in named):
            console.print(Text(f"{answer.question}: {answer.text}   {answer.state}. {answer.reason}"), soft_wrap=True)


def _row_text(row: ProgressRow) -> str:
    runs = f"{row.done} of {words.plural(row.needed, 'run')}"
    accuracy = words.spread(row.mean, row.deviation)
    parameters = f"{words.count(row.parameters)} parameters"
    return f"{row.configuration.label}   {runs}   test accuracy {accuracy}   {parameters}"
