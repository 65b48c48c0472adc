"""What the screen asks of the engine: commands, some after a question to the user, and launches that wait for data."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from textual.app import App

from engine import protocol as p
from engine.core.sweep import Sweep
from engine.storage import approvals
from svhn_tui.analysis.launches import DeferredLaunches, Launch
from svhn_tui.client.reconnect import Connection
from svhn_tui.client.state import State
from svhn_tui.dialogs.choosing import runs_to_restore
from svhn_tui.dialogs.trusting import TrustModelFiles
from svhn_tui.presets import ModelFile, Presets


class EngineRequests:
    """Sends what the user asks for; `book` are the presets in use."""

    def __init__(self, app: App[None], connection: Connection, book: Presets) -> None:
        self.book = book
        self._app, self._connection = app, connection
        self._launches = DeferredLaunches()

    async def send(self, command: p.AnyCommand | None) -> None:
        """Send a command if there is one, or notify that it cannot be sent; a new model file is asked about first."""
        if isinstance(command, p.Submit) and (files := self.book.unapproved(command.sweep.configurations)):
            self._app.run_worker(self._submit_if_trusted(command.sweep, files.values()))
        elif command is not None and not await self._connection.send(command):
            text = "There is no connection; it is tried again now. Press the key once more then."
            self._app.notify(text, severity="error")

    def launch(self, launch: Launch, state: State) -> None:
        """Launch a question, now or as soon as there is data to train on."""
        if launch.needs_data(self.book, state):
            self._app.notify(f"{launch.question.id} trains as soon as the data is open.", markup=False)
        self._launches.add(launch)
        self._launch_due(state)

    def receive(self, events: Sequence[p.AnyEvent], state: State) -> None:
        """Go on with what waited for these events; `state` is the one after them."""
        for event in events:
            if isinstance(event, p.TrashRead):
                self._app.run_worker(self._restore(event.results))
        self._launch_due(state)

    def _launch_due(self, state: State) -> None:
        for launch in self._launches.due(self.book, state):
            command, text = launch.command(self.book, state)
            self._app.notify(text, markup=False)
            self._app.call_later(self.send, command)

    async def _submit_if_trusted(self, sweep: Sweep, files: Iterable[ModelFile]) -> None:
        """Train a sweep if the user lets its model files run."""
        if await self._app.push_screen_wait(TrustModelFiles(files)):
            for file in files:
                approvals.approve(file.text, Path(file.path))
            await self.send(self.book.submit(sweep))

    async def _restore(self, results: Sequence[p.RunResult]) -> None:
        """Let runs be brought back from the trash."""
        await self.send(await runs_to_restore(self._app, results))
