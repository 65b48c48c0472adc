"""The commands by name; the module of a command is loaded when that command is used."""

import asyncio
from collections.abc import Coroutine, Iterator, MutableMapping
from importlib import import_module
from typing import Any, NoReturn

import typer
import typer.core
import typer.main

from svhn_tui.cli.arguments import fail
from svhn_tui.cli.exit_codes import FAILED

MODULES = {
    "run": "train",
    "status": "report",
    "answers": "report",
    "runs": "report",
    "evidence": "report",
    "choose": "train",
    "finalists": "train",
    "stop": "workspace",
    "verify": "submission",
    "export": "submission",
    "pack": "workspace",
    "import": "workspace",
    "trust": "trust",
    "doctor": "doctor",
    "bench": "bench",
    "data": "data",
    "course": "course",
}
"""The modules of this folder by command, in the order of `--help`; each has the command in its `app`."""


class LazyCommands(MutableMapping[str, Any]):
    """A mapping of commands for a typer group: `status` loads nothing that only `export` needs."""

    def __getitem__(self, name: str) -> Any:
        """Load a command's module."""
        module = import_module(f"svhn_tui.cli.{MODULES[name]}")
        return typer.main.get_group(module.app).commands[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate in the order of `--help`."""
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)

    def __setitem__(self, name: str, command: Any) -> None:
        raise TypeError("A command stands in MODULES.")

    def __delitem__(self, name: str) -> None:
        raise TypeError("A command stands in MODULES.")


class ProgramCommands(typer.core.TyperGroup):
    """The typer group of the program's commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands()


def command_group(text: str | None = None) -> typer.Typer:
    """Return a group for a module's commands; `text` is its help, if it has a name of its own."""
    return typer.Typer(help=text, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


def carry_out(work: Coroutine[object, object, int]) -> NoReturn:
    """Run a command and end with its exit code; a lost connection is one sentence."""
    from svhn_tui.client.bridge import LinkLost

    try:
        code = asyncio.run(work)
    except LinkLost as error:
        fail(str(error), FAILED)
    raise typer.Exit(code)
