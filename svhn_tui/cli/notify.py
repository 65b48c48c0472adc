"""`svhn-tui run --notify COMMAND`: the user's own command receives what is complete, failed or diverged.

The text comes from outside in part (why a run failed), so no shell ever reads it: the command is split as a
shell would, and the sentence goes to its stdin, to a variable, and into arguments that hold `{}`.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
from collections.abc import Sequence

from engine import protocol as p
from engine.machine.process_end import how_ended
from svhn_tui import words
from svhn_tui.analysis.notices import Milestones, divergences, notice_of
from svhn_tui.cli.arguments import fail
from svhn_tui.cli.exit_codes import WRONG_USE
from svhn_tui.client.state import State
from svhn_tui.terminal.printing import print_error

VARIABLE = "SVHN_TUI_NOTICE"
SECONDS = 60.0
"""Time limit of the command."""
LONGEST = 500
"""Most characters of a sentence: an argument is limited to 128 KiB."""
MOST = 20
"""Most sentences in one call of the command; of more, only their number."""


class Notifier:
    """Runs the command for one notice after the other; notices during a call are passed together after it."""

    def __init__(self, command: Sequence[str], milestones: Milestones) -> None:
        self._command, self._milestones = tuple(command), milestones
        self._waiting: list[str] = []
        self._running: asyncio.Task[None] | None = None

    def receive(self, event: p.AnyEvent, state: State) -> None:
        """Notify of an event, given the state after it."""
        if not self._command or not state.caught_up:
            return
        notices = [*divergences([event], state), *self._milestones.reached([event], state)]
        if isinstance(event, p.RunFailed) and (notice := notice_of(event, is_news=True)) is not None:
            live = state.live.get(event.run_id)
            name = f"{live.spec.configuration.label}, seed {live.spec.seed}" if live is not None else event.run_id
            self.add_sentence(f"{name}: {notice.title}: {notice.text}")
        for notice in notices:
            self.add_sentence(notice.text)

    def add_sentence(self, sentence: str) -> None:
        """Pass a sentence to the command as soon as the last call has ended."""
        if not self._command:
            return
        self._waiting.append(f"svhn-tui: {' '.join(words.clean(sentence).split())[:LONGEST]}")
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run_commands())

    async def close(self) -> None:
        """Wait until every sentence was passed to the command."""
        if self._running is not None:
            await self._running

    async def _run_commands(self) -> None:
        while self._waiting:
            sentences, self._waiting = self._waiting, []
            more = len(sentences) - MOST
            text = "\n".join([*sentences[:MOST], *([f"and {words.plural(more, 'more notice')}"] if more > 0 else [])])
            if problem := await run_with(self._command, text):
                print_error(f"--notify: {problem}")


async def run_with(command: Sequence[str], text: str) -> str:
    """Start a command with a text; return what went wrong in a sentence, or nothing.

    Args:
        command: its arguments; `{}` in them is replaced by the text.
        text: also its stdin, and in `SVHN_TUI_NOTICE`.
    """
    name = words.clean(command[0])
    try:
        process = await asyncio.create_subprocess_exec(
            *(argument.replace("{}", text) if index else argument for index, argument in enumerate(command)),
            stdin=asyncio.subprocess.PIPE,
            stdout=2,  # stdout is for what `run` prints
            env={**os.environ, VARIABLE: text},
            start_new_session=True,  # Ctrl-C is not for it
        )
    except (OSError, ValueError) as error:
        return f"{name} cannot be started: {getattr(error, 'strerror', None) or error}."
    try:
        await asyncio.wait_for(process.communicate(f"{text}\n".encode()), SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return f"{name} took longer than {SECONDS:.0f} seconds and was ended."
    return f"{name} {how_ended(process.returncode)}." if process.returncode else ""


def command_of(text: str) -> tuple[str, ...]:
    """Split a command as a shell would; no shell runs it."""
    try:
        command = tuple(shlex.split(text))
    except ValueError as error:
        fail(f"--notify {text[:60]!r} is not a command: {error}.", WRONG_USE)
    if not command or shutil.which(command[0]) is None:
        fail(f"--notify {text[:60]!r}: there is no such program; name one, such as `mail -s done me@there`.", WRONG_USE)
    return command
