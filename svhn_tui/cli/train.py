"""Training, and choices that follow from it: `run`, `choose` and `finalists`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from engine import protocol as p
from engine.core.options import MAX_EPOCHS
from svhn_tui import words
from svhn_tui.analysis.progress import Overrides, rule_text, sweep_for, with_finalists
from svhn_tui.cli import run_output
from svhn_tui.cli.arguments import (
    WORKSPACE,
    DataOption,
    JsonOption,
    KnownWorkspaceOption,
    LayoutOption,
    WorkspaceOption,
    fail,
    fleet_of,
    load_presets,
    names_of,
    question_of,
    run_of,
    seconds_of,
    sources,
)
from svhn_tui.cli.commands import carry_out, command_group
from svhn_tui.cli.exit_codes import DONE, FAILED, WRONG_USE
from svhn_tui.cli.notify import command_of
from svhn_tui.cli.run import RunOptions, missing, train
from svhn_tui.cli.trust import ask_for_trust
from svhn_tui.client.session import connected
from svhn_tui.presets import Presets, Question
from svhn_tui.terminal.printing import print_error, print_text

app = command_group()


@app.command()
def run(
    questions: Annotated[list[str], typer.Argument(help="Questions, such as Q2 Q7, or `all`.", metavar="QUESTION...")],
    workspace: WorkspaceOption = WORKSPACE,
    data: DataOption = None,
    layout: LayoutOption = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_EPOCHS, metavar="N", help="Other than the question asks; such runs count as other runs."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=10_000, metavar="N", help="Seeds of each configuration, from 0.")
    ] = None,
    on_interrupt: Annotated[
        str | None,
        typer.Option(metavar="WAY", help="What Ctrl-C does: `detach` (training continues) or `stop`. Else it asks."),
    ] = None,
    stop_after: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Checkpoint everything and leave after this time: 45m, 8h, 1h30m. Exit code 3."
        ),
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option(
            metavar="OPTIONS", help="Train through Slurm, with these options of srun: '--gres=gpu:1 --time=4:00:00'."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="Slurm workers at a time.")] = 1,
    worker_ssh: Annotated[
        str | None, typer.Option(metavar="HOSTS", help="Train on these machines over your own ssh: boxA,boxB.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Train on this machine again, on all its GPUs.")] = False,
    gpus: Annotated[
        str | None,
        typer.Option(metavar="GPUS", help="Train on these GPUs of this machine: 1,3 as nvidia-smi has them, or none."),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Start this command when a question is complete, or a run failed or diverged: the sentence is its "
            "stdin, stands in SVHN_TUI_NOTICE, and in the place of {}. 'curl -d @- https://ntfy.sh/mytopic'",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train what these questions still lack, the cheapest first.

    The answers are printed at the end. Where it trains is kept in your settings, for this workspace: --slurm,
    --worker-ssh, --gpus or --local changes it for later runs too.
    """
    if on_interrupt not in (None, "detach", "stop"):
        fail(f"--on-interrupt {on_interrupt[:40]!r}: `detach` or `stop`.", WRONG_USE)
    book = load_presets(workspace)
    chosen = [question_of(book, name) for name in names_of(book, questions)]
    ask_for_trust(book, chosen)
    reporter = run_output.reporter(as_json=as_json)
    seconds = seconds_of(stop_after) if stop_after is not None else None
    fleet = fleet_of(slurm, workers, worker_ssh, gpus, local=local)
    command = command_of(notify) if notify is not None else ()
    overrides = Overrides(epochs=epochs, seeds=seeds)
    options = RunOptions(chosen, overrides, sources(data), on_interrupt, seconds, fleet, command, layout or "")
    raise typer.Exit(asyncio.run(train(workspace, book, options, reporter)))


@app.command()
def choose(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="A question that hands in a file, such as Q5.")],
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The run whose file it is; without one, the first seed's.")
    ] = None,
    workspace: KnownWorkspaceOption = WORKSPACE,
) -> None:
    """Choose the run whose file a question hands in.

    The answer about that file follows from it.
    """
    book = load_presets(workspace)
    chosen = question_of(book, question)
    if chosen.kind != "training":
        fail(f"{chosen.id} hands in no trained file.", WRONG_USE)
    carry_out(hand_in(workspace, book, chosen, run_of(run) if run is not None else None))


async def hand_in(workspace: Path, book: Presets, question: Question, run_id: str | None) -> int:
    """Hand in this run's file for a question; None means the first seed's."""
    async with connected(workspace) as session:
        state = session.state
        run = state.results.get(run_id or "")
        if run is not None and run.spec.configuration not in book.configurations(question):
            label = book.configurations(question)[0].label
            print_error(f"{run_id} is {run.spec.configuration.label}; {question.id} asks for {label}.")
            return FAILED
        event = await session.answer(p.Choose(question=question.id, run_id=run_id))
    if isinstance(event, p.Refused):
        print_error(event.reason)
        return FAILED
    print_text(f"{question.id} hands in {f'the file of run {run_id}' if run_id else 'the file of the first seed'}.")
    return DONE


@app.command()
def finalists(
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="A question whose best configurations get more seeds.")
    ],
    configurations: Annotated[
        list[int] | None,
        typer.Argument(metavar="INDEX", help="Their indices, from 0; without any, the rule of experiments.json."),
    ] = None,
    workspace: KnownWorkspaceOption = WORKSPACE,
) -> None:
    """Choose the configurations of the second stage, and train them."""
    book = load_presets(workspace)
    asked = question_of(book, question)
    if asked.finalists is None:
        fail(f"{asked.id} has no second stage.", WRONG_USE)
    count = len(book.configurations(asked))
    if wrong := [index for index in configurations or () if not 0 <= index < count]:
        fail(f"{asked.id} has no configuration {wrong[0]}: 0 to {count - 1}.", WRONG_USE)
    carry_out(choose_finalists(workspace, book, asked, tuple(sorted(set(configurations or ())))))


async def choose_finalists(workspace: Path, book: Presets, question: Question, chosen: tuple[int, ...]) -> int:
    """Give the second stage to these configurations; none means those of the rule."""
    async with connected(workspace) as session:
        sweep = sweep_for(question, book, session.state, Overrides())
        if session.state.data is None or sweep is None or sweep.finalists is None:
            print_error(f"No data is open yet; train the first stage: svhn-tui run {question.id} --data DIR.")
            return FAILED
        sweep = with_finalists(sweep, chosen)
        event = await session.answer(book.submit(sweep))
    if isinstance(event, p.Refused):
        print_error(event.reason)
        return FAILED
    assert sweep.finalists is not None
    print_text(f"{rule_text(sweep.finalists)} {words.plural(len(missing(session.state, [sweep])), 'run')} to train.")
    return DONE
