"""Opens the screen."""

from pathlib import Path

from svhn_tui import preset_file, presets
from svhn_tui.app import SvhnApp
from svhn_tui.client.remote_host import Remote
from svhn_tui.terminal.hangup import leave_with_terminal
from svhn_tui.terminal.printing import print_error


def open_screen(workspace: Path, source: tuple[str, ...], remote: Remote | None, layout: str = "") -> int:
    """Show the screen until it is closed; return the exit code. For another machine the presets are those of this one.

    Args:
        workspace: its path, on the machine of `remote` if there is one.
        source: files or folders with the data, or none for the workspace's own.
        remote: the machine of the host.
        layout: the order of the images' axes, if their shape is ambiguous.
    """
    try:
        book = preset_file.load(preset_file.find(remote.local_folder if remote is not None else workspace))
    except presets.PresetError as error:
        print_error(str(error))
        return 1
    app = SvhnApp(workspace, source, remote, book, layout)
    leave_with_terminal()
    app.run()
    if app.farewell:
        print(app.farewell)
    return app.return_code or 0
