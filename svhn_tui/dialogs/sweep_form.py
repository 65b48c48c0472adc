"""The form for a sweep of the user's own; it shows the number of runs and the forecast while it is typed."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Label, Static

from engine.core.options import Option
from svhn_tui import preset_file
from svhn_tui.assignment.sweep_draft import FIRST, SWEPT, Draft, SweepTexts, forecast, in_use, save
from svhn_tui.assignment.typed_values import DraftError
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialog import Dialog
from svhn_tui.presets import PresetError, Question

NAME_CELLS = 20
"""Width of a field's name, in cells."""


def _hint(title: str, example: str) -> str:
    return f"{title:<{NAME_CELLS}} {example}"


def _hints(options: Iterable[Option]) -> dict[str, str]:
    return {option.name: _hint(option.title, option.example) for option in options}


HINTS: Mapping[str, str] = {
    "title": "title",
    "data": _hint("data", "a data set of experiments.json; empty: the one in use"),
    **_hints(SWEPT[: len(FIRST)]),
    "seeds": _hint("seeds", "0..9 or 0 1 2"),
    "model": _hint("model", "a network with a model file: mine width=32,64 depth=1..3; else empty"),
    "finalists": _hint("finalists' seeds", "0..9; empty for one stage"),
    **_hints(SWEPT[len(FIRST) :]),
}
"""The hints on what may be typed, by field."""


class SweepForm(Dialog[Question | None]):
    """Asks for lists and ranges of settings; it saves the sweep in the workspace's presets and returns it."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "next", priority=True),
        Binding("up", "app.focus_previous", "before", priority=True),
    ]

    def __init__(self, workspace: Path, data: Collection[str], state: State) -> None:
        """Store the workspace in which the sweep is saved, and the names of its data sets."""
        super().__init__()
        self._workspace, self._sets, self._state = workspace, data, state

    def compose(self) -> ComposeResult:
        """Compose the fields, the forecast, and the keys."""
        sets = _hint("data", f"{', '.join(self._sets)} (empty: in use)")
        with Vertical():
            yield Label(Text("A sweep of your own\n", style="bold"))
            with VerticalScroll(can_focus=False):
                for name, hint in {**HINTS, "data": sets}.items():
                    yield Label(hint, id=f"hint-{name}", classes="hint", markup=False)
                    yield Input(getattr(Draft(), name), id=name, max_length=500, classes="field")
            yield Static(id="preview")
            yield Label(Text("↑ ↓ field   enter saves and trains it   esc goes back"))

    def on_mount(self) -> None:
        """Focus the first field without scrolling: Textual would scroll its name out of view."""
        self.set_focus(self.query_one("#title"), scroll_visible=False)

    def on_input_changed(self) -> None:
        """Show the fields that apply with the others, and the forecast."""
        typed = self._typed
        shown = {"data": bool(self._sets), **{option.name: in_use(typed, option) for option in SWEPT}}
        for name, is_shown in shown.items():
            self.query_one(f"#{name}").display = self.query_one(f"#hint-{name}").display = is_shown
        self.query_one("#preview", Static).update(Text(self._plan_text()))

    @property
    def _typed(self) -> SweepTexts:
        return Draft(**{name: self.query_one(f"#{name}", Input).value for name in HINTS})

    @property
    def _draft(self) -> SweepTexts:
        """The values of the fields that are shown; the others are at their defaults."""
        shown = [name for name in HINTS if self.query_one(f"#{name}").display]
        return Draft(**{name: self.query_one(f"#{name}", Input).value for name in shown})

    def _plan_text(self) -> str:
        source = preset_file.find(self._workspace)
        try:
            return forecast(self._draft, source.read_bytes(), str(source), self._state)
        except (DraftError, PresetError) as error:
            return f"✗ {error}"
        except OSError as error:
            return f"✗ {source}: {error.strerror}."

    def on_input_submitted(self) -> None:
        """Save the sweep, if it can be parsed."""
        try:
            question = save(self._draft, self._workspace)
        except (DraftError, PresetError) as error:
            self.notify(str(error), severity="error", markup=False)
        except OSError as error:
            self.notify(f"{error.filename}: {error.strerror}.", severity="error", markup=False)
        else:
            self.dismiss(question)
