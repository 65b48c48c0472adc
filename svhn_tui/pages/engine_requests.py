"""Requests to the engine: commands, some after a question to the user, and launches that wait for data."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from textual.app import App

from engine import protocol as p
from engine.core.sweep import Sweep
from engine.storage import approvals
from svhn_tui.analysis.launches import DeferredLaunches, Launch
from svhn_tui.client.reconnect import Connection
from svhn_tui.client.state import State
from svhn_tui.dialogs.choosing import are_trusted, runs_to_restore
from svhn_tui.presets import ModelFile, PresetError, Presets, models_of
from svhn_tui.words import clean


class EngineRequests:
    """Sends what the user asks for; `book` are the presets in use."""

    def __init__(
        self, app: App[None], connection: Connection, book: Presets, read_again: Callable[[str], Awaitable[None]]
    ) -> None:
        """Store the parts; nothing is sent yet.

        Args:
            app: for questions to the user.
            connection: to the engine.
            book: the presets.
            read_again: reads the presets again, sets `book`, and shows the question of this name.
        """
        self.book = book
        self._app, self._connection, self._read_again = app, connection, read_again
        self._launches = DeferredLaunches()
        self._untrusted: list[Sweep] = []
        """Sweeps that wait until the user approves their model files."""

    async def send(self, command: p.AnyCommand | None) -> None:
        """Send a command if there is one, or notify that it cannot be sent; a new model file is asked about first."""
        if isinstance(command, p.Submit) and await self._is_outdated(command.sweep):
            return
        if isinstance(command, p.Submit) and (files := self.book.unapproved(command.sweep.configurations)):
            self._untrusted.append(command.sweep)
            if len(self._untrusted) == 1:  # one question for all that wait
                self._app.run_worker(self._submit_if_trusted(files))
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
        """Continue what waited for these events; `state` is the one after them."""
        for event in events:
            if isinstance(event, p.TrashRead):
                self._app.run_worker(self._restore(event.results))
        self._launch_due(state)

    def _launch_due(self, state: State) -> None:
        for launch in self._launches.due(self.book, state):
            command, text = launch.command(self.book, state)
            self._app.notify(text, markup=False)
            self._app.call_later(self.send, command)

    async def _is_outdated(self, sweep: Sweep) -> bool:
        """Read the presets again if a model file was edited; say whether the sweep has an outdated one."""
        if changed := self.book.changed_files():
            try:
                await self._read_again(sweep.title)
            except PresetError as error:
                self._app.notify(clean(str(error)), severity="error", markup=False)
                return True
            text = f"{', '.join(changed)} changed, and was read again: press the key once more to train it."
            self._app.notify(clean(text), severity="warning", markup=False)
        return not models_of(sweep.configurations) <= self.book.sources.keys()

    async def _submit_if_trusted(self, files: Mapping[str, ModelFile]) -> None:
        """Submit the waiting sweeps if the user approves these files; sweeps with other files are asked about next."""
        is_sure = await are_trusted(self._app, files.values())
        for file in files.values() if is_sure else ():
            approvals.approve(file.text)
        waiting, self._untrusted = self._untrusted, []
        for sweep in waiting:
            if is_sure or not models_of(sweep.configurations) & files.keys():
                await self.send(self.book.submit(sweep))

    async def _restore(self, results: Sequence[p.RunResult]) -> None:
        """Ask which runs to restore from the trash, and restore them."""
        await self.send(await runs_to_restore(self._app, results))
