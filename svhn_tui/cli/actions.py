"""What `svhn-tui export`, `pack`, `import`, `choose`, `finalists` and `stop` do."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from rich.table import Table
from rich.text import Text

from engine import protocol as p
from engine.machine import os_errors
from engine.storage import archive
from svhn_tui import words
from svhn_tui.analysis.progress import Overrides, rule_text, sweep_for, with_finalists
from svhn_tui.assignment.answer_data import check_files, read_histories
from svhn_tui.cli.exit_codes import DONE, FAILED
from svhn_tui.cli.run import missing
from svhn_tui.client.session import ANSWER_SECONDS, IMPORT_SECONDS, connected
from svhn_tui.export import export as exporting
from svhn_tui.presets import Presets, Question
from svhn_tui.terminal.printing import Plain, complain, say, tell


async def export_to(
    folder: Path,
    workspace: Path,
    book: Presets,
    *,
    force: bool = False,
    as_json: bool = False,
    is_read_only: bool = False,
) -> int:
    """Export, each file verified in a process of its own; the exit code says whether everything was there."""
    async with connected(workspace, is_read_only=is_read_only) as session:
        await check_files(session, book)
        await read_histories(session, book)
        state = session.state

    def verified(thing: exporting.Exported) -> exporting.Exported:
        return exporting.verified(thing, folder, book, state.data) if state.data else thing

    try:
        done = exporting.export(folder, book, state, verified, force=force)
    except OSError as error:
        complain(os_errors.sentence_of(error, folder) or f"{error.filename or folder}: {error.strerror or error}.")
        return FAILED
    if as_json:
        tell([{"name": thing.name, "said": thing.said, "ok": thing.ok} for thing in done])
    else:
        Plain().print(_table(done))
    return DONE if all(thing.ok for thing in done) else FAILED


def _table(done: Iterable[exporting.Exported]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for thing in done:
        table.add_row("✓" if thing.ok else "✗", thing.name, Text(words.clean(thing.said)))
    return table


async def pack_to(file: Path, workspace: Path) -> int:
    """Write all runs, with their checkpoints, to one zip file."""
    async with connected(workspace) as session:
        state = session.state
        root = Path(state.workspace)
        remarks = archive.Remarks(tuple(state.notes.values()), dict(state.choices), dict(state.statements))
        try:
            packed = await asyncio.to_thread(archive.pack, root, file.absolute(), remarks)
        except OSError as error:
            complain(os_errors.sentence_of(error, file) or f"{error.filename or file}: {error.strerror or error}.")
            return FAILED
    for sentence in packed.left_out:
        complain(f"Left out: {words.clean(sentence)}")
    size = words.size(file.stat().st_size)
    say(f"{words.plural(packed.runs, 'run')} in {file}, {size}. Take it in: svhn-tui import {file}")
    return DONE


async def import_from(file: Path, workspace: Path) -> int:
    """Take in the runs of a packed file."""
    async with connected(workspace) as session:
        event = await session.answer(p.Import(path=str(file.absolute())), within=IMPORT_SECONDS)
    if not isinstance(event, p.Imported):
        complain(getattr(event, "reason", ""))
        return FAILED
    say(
        f"{words.plural(event.finished, 'finished run')} taken in, {event.unfinished} unfinished, "
        f"{event.known} were here already."
        + (" `svhn-tui run all` goes on with what is not finished." if event.unfinished else "")
    )
    return DONE


async def choose(workspace: Path, book: Presets, question: Question, run_id: str | None) -> int:
    """Hand in this run's file for a question; None means the first seed's again."""
    async with connected(workspace) as session:
        state = session.state
        run = state.results.get(run_id or "")
        if run is not None and run.spec.configuration not in book.configurations(question):
            label = book.configurations(question)[0].label
            complain(f"{run_id} is {run.spec.configuration.label}; {question.id} asks for {label}.")
            return FAILED
        event = await session.answer(p.Choose(question=question.id, run_id=run_id))
    if isinstance(event, p.Refused):
        complain(event.reason)
        return FAILED
    say(f"{question.id} hands in {f'the file of run {run_id}' if run_id else 'the file of the first seed'}.")
    return DONE


async def choose_finalists(workspace: Path, book: Presets, question: Question, chosen: tuple[int, ...]) -> int:
    """Give the second stage to these configurations; none means those that the rule names."""
    async with connected(workspace) as session:
        sweep = sweep_for(question, book, session.state, Overrides())
        if session.state.data is None or sweep is None or sweep.finalists is None:
            complain("No data is open yet; train the first stage: svhn-tui run Q10 --data DIR.")
            return FAILED
        sweep = with_finalists(sweep, chosen)
        event = await session.answer(p.Submit(sweep=sweep))
    if isinstance(event, p.Refused):
        complain(event.reason)
        return FAILED
    assert sweep.finalists is not None
    say(f"{rule_text(sweep.finalists)} {words.plural(len(missing(session.state, [sweep])), 'run')} to train.")
    return DONE


async def stop(workspace: Path) -> int:
    """End the workspace's host; what trains is checkpointed."""
    async with connected(workspace) as session:
        await session.ask(p.Shutdown())
        await session.until(lambda state, event: isinstance(event, p.HostEnded), within=ANSWER_SECONDS)
    print("Stopped. What was training goes on from its checkpoint at the next start.")
    return DONE
