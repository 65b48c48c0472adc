"""A connection to a workspace's host for commands without a screen, with the screen's pipe and reducer.

Every wait ends: with the awaited event, the host's refusal, the end of the connection, or a deadline.
"""

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import msgspec

from engine import protocol as p
from svhn_tui.client.bridge import Link, LinkLost
from svhn_tui.client.edits import Edits
from svhn_tui.client.reducer import apply
from svhn_tui.client.state import State

SILENCE_SECONDS = 60.0
"""Time without events after which a host counts as dead, if it passes twice in a row (this process may have been
stopped meanwhile): a host sends an event to its clients every two seconds."""
WATCHED_AT_ONCE = 500
"""Number of curves in one request."""
ANSWER_SECONDS = 300.0
"""Time limit of a reply, in seconds, while the host sends other events: large files are read and hashed."""
IMPORT_SECONDS = 3_600.0


class NoAnswer(LinkLost):
    """The host does not answer; the message is a sentence for the user."""


class Session:
    """A connection to the workspace's host, and the state folded from its events."""

    def __init__(self, link: Link, received: Callable[[p.AnyEvent, State], None] = lambda event, state: None) -> None:
        self.state = State()
        self._link = link
        self._received = received
        self._batches = link.events()
        self._reading: asyncio.Task[tuple[p.AnyEvent, ...]] | None = None
        self._left: deque[p.AnyEvent] = deque()
        """Events that were read and not yet processed."""
        self._edits = Edits()
        self._requests = map("request {}".format, itertools.count())

    async def ask(self, command: p.AnyCommand) -> None:
        """Send a command."""
        await self._link.send(command)

    async def answer(
        self,
        command: p.AnyCommand,
        *,
        within: float = ANSWER_SECONDS,
        or_when: Callable[[State], bool] = lambda state: False,
    ) -> p.AnyEvent:
        """Send a command and return the event that answers it: its own, `Done`, or `Refused`.

        Args:
            command: to send.
            within: time limit, in seconds.
            or_when: a condition on the state that ends the wait too.

        Raises:
            LinkLost: the connection ended, or there was no answer in time.
        """
        answers = answers_to(request := next(self._requests))
        await self.ask(msgspec.structs.replace(command, request=request))
        return await self.until(lambda state, event: answers(state, event) or or_when(state), within=within)

    async def until(self, met: Callable[[State, p.AnyEvent], bool], *, within: float | None = None) -> p.AnyEvent:
        """Fold events until one meets the condition, and return it.

        Args:
            met: the condition.
            within: time limit, in seconds; None: as long as the host sends events.

        Raises:
            LinkLost: the connection ended, or it took too long.
        """
        deadline = time.monotonic() + within if within is not None else None
        while True:
            while self._left:
                event = self._left.popleft()
                self.state = apply(self.state, event, self._edits)
                self._received(event, self.state)
                if met(self.state, event):
                    return event
            if deadline is not None and time.monotonic() > deadline:
                raise NoAnswer(f"The background process gave no answer within {within:.0f} seconds.")
            await self._read()

    async def _read(self) -> None:
        """Wait for the next events. Cancelling it loses no event."""
        for _ in range(2):
            if self._reading is None:
                self._reading = asyncio.create_task(self._next_batch())
            done, _ = await asyncio.wait({self._reading}, timeout=SILENCE_SECONDS)
            if done:
                reading, self._reading = self._reading, None
                self._left.extend(reading.result())
                self._edits = Edits()
                return
        raise NoAnswer("The background process does not answer; end it with `svhn-tui stop`, or by its pid.")

    async def _next_batch(self) -> tuple[p.AnyEvent, ...]:
        try:
            return await anext(self._batches)
        except StopAsyncIteration:
            ended = "The background process ended; run the command again to continue where it stopped."
            raise LinkLost(ended) from None

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})


@contextlib.asynccontextmanager
async def connected(
    workspace: Path,
    received: Callable[[p.AnyEvent, State], None] = lambda event, state: None,
    *,
    is_read_only: bool = False,
) -> AsyncIterator[Session]:
    """Attach to the workspace's host, starting one if there is none, and catch up with it.

    Args:
        workspace: its folder.
        received: called with every event and the state after it.
        is_read_only: start no host, and approve nothing in the workspace; reading is possible.
    """
    async with Link(workspace, is_read_only=is_read_only) as link:
        session = Session(link, received)
        try:
            event = await session.until(lambda state, event: state.caught_up or isinstance(event, p.Refused))
            if isinstance(event, p.Refused):
                raise NoAnswer(event.reason)
            yield session
        finally:
            await session.close()


async def open_data(session: Session, *openings: p.OpenData) -> p.DataSet | str:
    """Open data sets, the first of which is used; return that one, or why one of them was refused."""
    for opening in openings or (p.OpenData(),):
        event = await session.answer(opening)
        if isinstance(event, p.Refused):
            break
    return event.reason if isinstance(event, p.Refused) else session.state.data or "No data."


def answers_to(request: str) -> Callable[[State, p.AnyEvent], bool]:
    """Return the test for the event that answers a request."""
    return lambda state, event: getattr(event, "request", "") == request


async def ensure_known(session: Session, command: p.AnyCommand, is_known: Callable[[State], bool]) -> None:
    """Wait until something is known, or until the host has sent its whole state.

    Raises:
        NoAnswer: it was refused, or takes too long.
    """
    event = await session.answer(command, or_when=is_known)
    if isinstance(event, p.Refused):
        raise NoAnswer(event.reason)


async def read_curves(session: Session, runs: Iterable[str]) -> None:
    """Read the curves of runs that are not known yet; those that cannot be read stay empty.

    Raises:
        NoAnswer: the host does not send them.
    """
    wanted = [run_id for run_id in runs if run_id not in session.state.histories]
    for start in range(0, len(wanted), WATCHED_AT_ONCE):
        await _watch(session, tuple(wanted[start : start + WATCHED_AT_ONCE]))


async def _watch(session: Session, runs: tuple[str, ...]) -> None:
    await ensure_known(session, p.Watch(runs=runs), lambda state: set(runs) <= set(state.histories))
