"""Exports from the screen: each runs in a process of its own, one at a time."""

from collections.abc import Callable
from pathlib import Path

from svhn_tui.client.remote_host import Remote
from svhn_tui.client.state import State
from svhn_tui.terminal.terminal_app import TerminalApp

GROUP = "export"


class Exports:
    """Starts exports of a workspace, and asks before one is interrupted."""

    def __init__(self, app: TerminalApp, workspace: Path, remote: Remote | None) -> None:
        self._app, self._workspace, self._remote = app, workspace, remote

    def start(self, state: State) -> None:
        """Export the whole submission into a new folder of the workspace."""
        if not state.results:
            self._app.notify("There is nothing to export yet: train a question first.")
            return
        self._app.notify("Exporting, and verifying the files in TensorFlow…")
        self._app.run_worker(self._export(Path(state.workspace) / "exports"), group=GROUP, exclusive=True)

    async def _export(self, exports: Path) -> None:
        from svhn_tui.export.exporting import export_beside

        self._app.show_notice(await export_beside(exports, self._workspace, self._remote))

    def before_leaving(self, leave: Callable[[], None]) -> None:
        """Call `leave`, during an export only if the user confirms it."""
        if not any(worker.group == GROUP and worker.is_running for worker in self._app.workers):
            leave()
            return
        from svhn_tui.dialogs.dialogs import Confirm

        sentence = "The export is not finished; leaving now leaves an incomplete folder. Leave all the same?"
        self._app.push_screen(Confirm(sentence), lambda yes: leave() if yes else None)
