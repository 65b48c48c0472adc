"""A connection to a workspace's host for programs without a screen: the same pipe, the same fold."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from engine import protocol as p
from svhn_tui import answers as answering
from svhn_tui.edits import Edits
from svhn_tui.fold import apply
from svhn_tui.link import Link, LinkLost
from svhn_tui.presets import Presets
from svhn_tui.state import State


class Session:
    """A connection to the workspace's host, and the state folded from its events. A state that is kept may change."""

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
            edits = Edits()
            for event in batch:
                self.state = apply(self.state, event, edits)
                self._told(event, self.state)
                yield event


@contextlib.asynccontextmanager
async def connected(
    workspace: Path,
    told: Callable[[p.AnyEvent, State], None] = lambda event, state: None,
    *,
    is_read_only: bool = False,
) -> AsyncIterator[Session]:
    """Attach to the workspace's host, starting one if there is none, and catch up with it.

    Args:
        workspace: its folder.
        told: gets every event, and the state after it.
        is_read_only: start no host and trust nothing there; what only reads is done all the same.
    """
    async with Link(workspace, is_read_only=is_read_only) as link:
        session = Session(link, told)
        await session.until(lambda state, event: state.caught_up)
        yield session


async def open_data(session: Session, source: tuple[str, ...]) -> p.DataSet | str:
    """Make this the workspace's data; return it, or why it was refused."""
    await session.ask(p.OpenData(source=source, request="data"))
    event = await session.until(answers_to("data"))
    return event.reason if isinstance(event, p.Refused) else session.state.data or "No data."


def answers_to(request: str) -> Callable[[State, p.AnyEvent], bool]:
    """Recognise the event that answers a request."""
    return lambda state, event: getattr(event, "request", "") == request


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
