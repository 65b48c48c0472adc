"""The program without a screen: the same pipe, the same fold, printed as bars, plain lines or JSON."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine import pack, plan
from engine import protocol as p
from engine.plan import Sweep
from engine.spec import RunSpec
from svhn_tui import answers as answering
from svhn_tui import evidence, words
from svhn_tui import export as exporting
from svhn_tui.link import Link, LinkLost
from svhn_tui.presets import Presets, Question
from svhn_tui.progress import (
    MARKS,
    Overrides,
    Progress,
    Row,
    cheapest_first,
    plan_text,
    progress_of,
    rule_text,
    sweep_for,
    with_finalists,
)
from svhn_tui.reporting import JsonLines, Reporter
from svhn_tui.state import State, apply

DONE, FAILED, TIME_OVER, INTERRUPTED = 0, 1, 3, 130


class Wish(msgspec.Struct, frozen=True):
    """What `svhn-tui run` was asked for."""

    questions: Sequence[Question]
    overrides: Overrides
    source: tuple[str, ...]
    on_interrupt: str | None = None
    stop_after: float | None = None
    """Seconds after which everything is checkpointed and left."""


class Session:
    """A connection to the workspace's host, and the state folded from its events."""

    def __init__(self, link: Link, told: Callable[[p.AnyEvent, State], None] = lambda event, state: None) -> None:
        self.state = State()
        self._link = link
        self._told = told
        self._events = self._each()

    async def ask(self, command: p.AnyCommand) -> None:
        """Send a command."""
        await self._link.send(command)

    async def until(self, met: Callable[[State, p.AnyEvent], bool]) -> p.AnyEvent:
        """Fold events until one meets the condition, and return it.

        Raises:
            LinkLost: the connection ended first.
        """
        async for event in self._events:
            if met(self.state, event):
                return event
        raise LinkLost("The background process ended; run the command again to go on where it stopped.")

    async def _each(self) -> AsyncIterator[p.AnyEvent]:
        async for batch in self._link.events():
            for event in batch:
                self.state = apply(self.state, event)
                self._told(event, self.state)
                yield event


@contextlib.asynccontextmanager
async def connected(
    workspace: Path, told: Callable[[p.AnyEvent, State], None] = lambda event, state: None
) -> AsyncIterator[Session]:
    """Attach to the workspace's host, starting one if there is none, and catch up with it."""
    async with Link(workspace) as link:
        session = Session(link, told)
        await session.until(lambda state, event: state.caught_up)
        yield session


async def open_data(session: Session, source: tuple[str, ...]) -> p.DataSet | str:
    """Make this the workspace's data; return it, or why it was refused."""
    await session.ask(p.OpenData(source=source, request="data"))
    event = await session.until(_answers("data"))
    return event.reason if isinstance(event, p.Refused) else session.state.data or "No data."


def _answers(request: str) -> Callable[[State, p.AnyEvent], bool]:
    return lambda state, event: getattr(event, "request", "") == request


async def train(workspace: Path, book: Presets, wish: Wish, reporter: Reporter) -> int:
    """Train what the questions lack, report as it goes, print the answers; return the exit code."""
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    try:
        async with connected(workspace, reporter.told) as session:
            training = asyncio.create_task(_train(session, book, wish, reporter))
            waiting = asyncio.create_task(interrupted.wait())
            await asyncio.wait((training, waiting), timeout=wish.stop_after, return_when=asyncio.FIRST_COMPLETED)
            if not training.done():
                reporter.close()
                if interrupted.is_set():
                    return await _interrupt(session, training, wish.on_interrupt)
                await _stop(session, training, "The time is over; the same command goes on from the checkpoints.")
                return TIME_OVER
            waiting.cancel()
            problem = training.result()
            reporter.close()
            if problem:
                print(f"svhn-tui: {words.clean(problem)}", file=sys.stderr)
                return FAILED
            if not isinstance(reporter, JsonLines):
                _print_outcome(session.state, book, wish)
            return DONE
    except LinkLost as error:
        reporter.close()
        print(f"svhn-tui: {words.clean(str(error))}", file=sys.stderr)
        return FAILED


async def _train(session: Session, book: Presets, wish: Wish, reporter: Reporter) -> str:
    """Submit the sweeps, the cheapest first, and wait for their runs; return what went wrong, or nothing."""
    data = await open_data(session, wish.source)
    if isinstance(data, str):
        return data
    sweeps = [sweep_for(question, book, session.state, wish.overrides) for question in wish.questions]
    asked = cheapest_first([sweep for sweep in sweeps if sweep is not None], session.state)
    if not asked:
        return "Nothing to train: these questions ask for code or for what follows from other questions' runs."
    reporter.say(plan_text(asked, session.state))
    for number, sweep in enumerate(asked):
        request = f"submit {number}"
        await session.ask(p.Submit(sweep=sweep, request=request))
        answer = await session.until(_answers(request))
        if isinstance(answer, p.Refused):
            return answer.reason
    if _unfinished(session.state, asked):
        await session.until(lambda state, event: not _unfinished(state, asked))
    failed = [(spec, session.state.live[spec.run_id]) for spec in _missing(session.state, asked)]
    return "; ".join(f"{spec.configuration.label}, seed {spec.seed}: {live.reason}" for spec, live in failed)


def _missing(state: State, sweeps: Sequence[Sweep]) -> list[RunSpec]:
    return [spec for sweep in sweeps for spec in plan.missing(sweep, state.accuracies)]


def _unfinished(state: State, sweeps: Sequence[Sweep]) -> bool:
    """Say whether a run is still to come; one that failed is not waited for."""
    ended = {run_id for run_id, live in state.live.items() if live.status == "failed"}
    return any(spec.run_id not in ended for spec in _missing(state, sweeps))


async def _interrupt(session: Session, training: asyncio.Task[str], choice: str | None) -> int:
    if choice is None and sys.stdin.isatty():
        print(
            "\nTraining can go on in the background. [d]etach (enter), or [s]top it with a checkpoint? ",
            end="",
            flush=True,
        )
        choice = "stop" if (await asyncio.to_thread(sys.stdin.readline)).strip().lower().startswith("s") else "detach"
    if choice == "stop":
        await _stop(session, training, "Stopped; the same command goes on from the checkpoints.")
    else:
        training.cancel()
        print("Detached: training goes on. `svhn-tui status` shows it, `svhn-tui stop` ends it.", file=sys.stderr)
    return INTERRUPTED


async def _stop(session: Session, training: asyncio.Task[str], sentence: str) -> None:
    """Have everything checkpointed and the host ended, which ends the task that follows its events."""
    await session.ask(p.Shutdown())
    with contextlib.suppress(LinkLost):
        await training
    print(sentence, file=sys.stderr)


def _print_outcome(state: State, book: Presets, wish: Wish) -> None:
    """Say what was trained and where it lies, and the answers that follow from it."""
    console = Console()
    for question in wish.questions:
        progress = progress_of(question, book, state, wish.overrides)
        console.print(Text(f"{question.id}  {question.title}", style="bold"))
        for row in progress.rows:
            console.print(Text(f"  {_row_text(row)}"), soft_wrap=True)
        if question.upload and progress.rows:
            folder = Path(state.workspace) / "runs" / progress.rows[0].runs[0]
            console.print(Text(f"  {folder / 'model.keras'}"), soft_wrap=True)
    sweeps = [sweep_for(question, book, state, wish.overrides) for question in wish.questions]
    distinct = {spec.run_id for sweep in sweeps if sweep for spec in plan.asked(sweep, state.accuracies)}
    done = len(distinct & set(state.results))
    console.print(Text(f"{done} of {words.plural(len(distinct), 'distinct run')} done"))
    named = {question.id for question in wish.questions}
    for answer in answering.all_answers(book, state):
        about = book.question(answer.question).answer
        if answer.text and about and (answer.question in named or about.of in named):
            console.print(Text(f"{answer.question}: {answer.text}   {answer.state}. {answer.reason}"), soft_wrap=True)


def _row_text(row: Row) -> str:
    runs = f"{row.done} of {words.plural(row.needed, 'run')}"
    accuracy = words.spread(row.mean, row.deviation)
    parameters = f"{words.count(row.parameters)} parameters"
    return f"{row.configuration.label}   {runs}   test accuracy {accuracy}   {parameters}"


async def print_status(workspace: Path, book: Presets, *, as_json: bool) -> int:
    """Print how far every question is and what trains now."""
    async with connected(workspace) as session:
        state = session.state
        found = [progress_of(question, book, state) for question in book.questions]
        if as_json:
            print(json.dumps(_status_json(state, found)))
            return DONE
        console = Console()
        console.print(Text(_data_line(state)))
        table = Table("", "question", "", "runs", "left", box=None, pad_edge=False)
        for progress in found:
            runs = f"{progress.done} of {progress.needed}" if progress.needed else ""
            left = words.duration(progress.seconds_left) if progress.seconds_left else ""
            question = progress.question
            table.add_row(MARKS[progress.status], question.id, Text(question.title), runs, left)
        console.print(table)
        for run_id, live in state.running.items():
            done, epochs = live.history.epochs, live.spec.configuration.training.epochs
            left = words.duration(live.seconds_left)
            name = f"{live.spec.configuration.label}, seed {live.spec.seed}"
            console.print(Text(f"training {name}: epoch {done} of {epochs}, {left} left ({run_id})"))
        console.print(Text(f"{len(state.running)} training, {len(state.queue)} waiting, {len(state.results)} finished"))
    return DONE


def _status_json(state: State, found: Sequence[Progress]) -> dict[str, object]:
    return {
        "workspace": state.workspace,
        "data": msgspec.to_builtins(state.data),
        "training": sorted(state.running),
        "waiting": [place.run_id for place in state.queue],
        "finished": len(state.results),
        "questions": {
            progress.question.id: {"status": progress.status, "done": progress.done, "needed": progress.needed}
            for progress in found
        },
    }


def _data_line(state: State) -> str:
    if state.data is None:
        return "No data has been opened yet: `svhn-tui run Q2` takes demo data, `--data DIR` the assignment's."
    mark = "demo data: drawn digits, not SVHN" if state.data.is_demo else "data"
    return f"{mark} {state.data.name}, {state.data.train_images:,} / {state.data.test_images:,} images"


async def print_answers(workspace: Path, book: Presets, *, as_json: bool) -> int:
    """Print the answers, after a look at the files that they are about."""
    async with connected(workspace) as session:
        await check_files(session, book)
        found = answering.all_answers(book, session.state)
    if as_json:
        print(json.dumps(answering.as_json(found)))
        return DONE
    table = Table("question", "answer", "state", "", box=None, pad_edge=False)
    for answer in found:
        table.add_row(answer.question, Text(answer.text or "–", style="bold"), answer.state, Text(answer.reason))
    Console().print(table)
    return DONE


async def check_files(session: Session, book: Presets) -> None:
    """Have the files hashed that answers are bound to."""
    found = answering.all_answers(book, session.state)
    bound = [answer for answer in found if (form := book.question(answer.question).answer) and form.format == "file"]
    runs = tuple(run_id for answer in bound for run_id in answer.runs)
    if runs:
        await session.ask(p.CheckFiles(runs=runs))
        await session.until(lambda state, event: isinstance(event, p.FilesChecked))


async def read_histories(session: Session, book: Presets) -> None:
    """Have the curves read of the runs behind the answers."""
    runs = {run_id for answer in answering.all_answers(book, session.state) for run_id in answer.runs}
    if runs:
        await session.ask(p.Watch(runs=tuple(sorted(runs))))
        await session.until(lambda state, event: runs <= set(state.histories))


async def print_evidence(workspace: Path, book: Presets, question: Question, *, as_json: bool) -> int:
    """Print what the runs say about a multiple-choice question."""
    async with connected(workspace) as session:
        facts = evidence.facts_of(question, book, session.state)
    if as_json:
        print(msgspec.json.encode(facts).decode())
        return DONE
    console = Console()
    for statement in session.state.statements.get(question.id, ()):
        console.print(Text(f"{statement.verdict:<6}{words.clean(statement.text)}"))
    if not facts:
        console.print(f"None of the runs of {', '.join(question.evidence)} is done yet.")
    for fact in facts:
        console.print(Text(fact.title, style="bold"))
        for sentence in fact.sentences:
            console.print(Text(f"  {sentence}"))
        table = Table(box=None, pad_edge=True, show_header=False)
        for name, figure in fact.figures:
            table.add_row(Text(name), Text(figure))
        console.print(table)
    return DONE


async def export_to(folder: Path, workspace: Path, book: Presets) -> int:
    """Export, each file verified in a process of its own; the exit code says whether everything was there."""
    async with connected(workspace) as session:
        await check_files(session, book)
        await read_histories(session, book)
        state = session.state

    def verified(thing: exporting.Exported) -> exporting.Exported:
        return exporting.verified(thing, folder, book, state.data) if state.data else thing

    try:
        done = exporting.export(folder, book, state, verified)
    except OSError as error:
        print(f"svhn-tui: {error.filename or folder}: {error.strerror or error}.", file=sys.stderr)
        return FAILED
    table = Table(box=None, pad_edge=False, show_header=False)
    for thing in done:
        table.add_row("✓" if thing.ok else "✗", thing.name, Text(words.clean(thing.said)))
    Console().print(table)
    return DONE if all(thing.ok for thing in done) else FAILED


async def print_runs(workspace: Path, *, as_json: bool) -> int:
    """List the finished runs, the newest last."""
    async with connected(workspace) as session:
        state = session.state
    results = sorted(state.results.values(), key=lambda result: result.finished_at)
    if as_json:
        print(json.dumps([_run_json(result, Path(state.workspace)) for result in results]))
        return DONE
    table = Table("run", "configuration", "seed", "test accuracy", "parameters", "time", box=None, pad_edge=False)
    for result in results:
        table.add_row(
            result.run_id,
            Text(result.spec.configuration.label),
            str(result.spec.seed),
            words.accuracy(result.test_accuracy),
            words.count(result.trainable_parameters),
            words.duration(result.seconds),
        )
    Console().print(table)
    return DONE


def _run_json(result: p.RunResult, workspace: Path) -> dict[str, object]:
    configuration = result.spec.configuration
    return {
        **msgspec.to_builtins(result),
        "hidden": list(configuration.network.hidden),
        "activation": configuration.network.activation,
        "seed": result.spec.seed,
        "epochs": configuration.training.epochs,
        "data": result.spec.data,
        "folder": str(workspace / "runs" / result.run_id),
    }


async def pack_to(file: Path, workspace: Path) -> int:
    """Write all runs, with their checkpoints, to one zip file."""
    async with connected(workspace) as session:
        state = session.state
        root = Path(state.workspace)
        remarks = pack.Remarks(tuple(state.notes.values()), dict(state.choices), dict(state.statements))
        try:
            runs = await asyncio.to_thread(pack.pack, root, file.absolute(), remarks)
        except OSError as error:
            print(f"svhn-tui: {error.filename or file}: {error.strerror or error}.", file=sys.stderr)
            return FAILED
    print(
        f"{words.plural(runs, 'run')} in {file}, {words.size(file.stat().st_size)}. Take it in: svhn-tui import {file}"
    )
    return DONE


async def import_from(file: Path, workspace: Path) -> int:
    """Take in the runs of a packed file."""
    async with connected(workspace) as session:
        await session.ask(p.Import(path=str(file.absolute()), request="import"))
        event = await session.until(_answers("import"))
    if not isinstance(event, p.Imported):
        print(f"svhn-tui: {words.clean(getattr(event, 'reason', ''))}", file=sys.stderr)
        return FAILED
    print(
        f"{words.plural(event.finished, 'finished run')} taken in, {event.unfinished} unfinished, "
        f"{event.known} were here already."
    )
    return DONE


async def choose(workspace: Path, book: Presets, question: Question, run_id: str | None) -> int:
    """Hand in this run's file for a question; None means the first seed's again."""
    async with connected(workspace) as session:
        state = session.state
        run = state.results.get(run_id or "")
        if run is not None and run.spec.configuration not in book.configurations(question):
            label = book.configurations(question)[0].label
            print(
                f"svhn-tui: {run_id} is {run.spec.configuration.label}; {question.id} asks for {label}.",
                file=sys.stderr,
            )
            return FAILED
        await session.ask(p.Choose(question=question.id, run_id=run_id, request="choose"))
        event = await session.until(
            lambda state, event: isinstance(event, p.ChoiceChanged) or _answers("choose")(state, event)
        )
    if isinstance(event, p.Refused):
        print(f"svhn-tui: {words.clean(event.reason)}", file=sys.stderr)
        return FAILED
    print(f"{question.id} hands in {f'the file of run {run_id}' if run_id else 'the file of the first seed'}.")
    return DONE


async def choose_finalists(workspace: Path, book: Presets, question: Question, chosen: tuple[int, ...]) -> int:
    """Give the second stage to these configurations; none means those that the rule names."""
    async with connected(workspace) as session:
        sweep = sweep_for(question, book, session.state, Overrides())
        if session.state.data is None or sweep is None or sweep.finalists is None:
            print("svhn-tui: No data is open yet; train the first stage: svhn-tui run Q10 --data DIR.", file=sys.stderr)
            return FAILED
        sweep = with_finalists(sweep, chosen)
        await session.ask(p.Submit(sweep=sweep, request="finalists"))
        event = await session.until(_answers("finalists"))
    if isinstance(event, p.Refused):
        print(f"svhn-tui: {words.clean(event.reason)}", file=sys.stderr)
        return FAILED
    assert sweep.finalists is not None
    print(f"{rule_text(sweep.finalists)} {words.plural(len(_missing(session.state, [sweep])), 'run')} to train.")
    return DONE


async def stop(workspace: Path) -> int:
    """End the workspace's host; what trains is checkpointed."""
    async with connected(workspace) as session:
        await session.ask(p.Shutdown())
        await session.until(lambda state, event: isinstance(event, p.HostEnded))
    print("Stopped. What was training goes on from its checkpoint at the next start.")
    return DONE
