"""The form for a sweep of one's own: what it comes to stands below while it is typed."""

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Label, Static

from svhn_tui import presets
from svhn_tui.assignment.sweep_draft import Draft, DraftError, forecast, save
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialog import Dialog
from svhn_tui.presets import PresetError, Question

HINTS = {
    "title": "title",
    "hidden": "hidden layers      64 256,64 linear 64..1024/5",
    "activation": "activation         relu tanh",
    "learning_rate": "learning rate      1e-5 1e-4 or 1e-5..1e-3/3",
    "batch_size": "batch size         32 64",
    "epochs": "epochs             100",
    "optimizer": "optimizer          adam adamw sgd rmsprop adagrad nadam",
    "kernel_initializer": "kernel initializer random_normal glorot_uniform he_normal",
    "bias_initializer": "bias initializer   random_normal zeros",
    "dropout": "dropout            0 0.2 0.5",
    "batch_normalization": "batch normalization no yes",
    "input_scaling": "input scaling      1 0.00392157",
    "validation_split": "validation split   0 0.1",
    "trainer": "trainer            fast keras-fit",
    "seeds": "seeds              0..9 or 0 1 2",
    "model": "model              a network with a model file: mine width=32,64 depth=1..3; else empty",
    "finalists": "finalists' seeds   0..9; empty for one stage",
}


class SweepForm(Dialog[Question | None]):
    """Lists and ranges; enter keeps the sweep in the workspace's presets and hands it back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back"),
        Binding("down", "app.focus_next", "next", priority=True),
        Binding("up", "app.focus_previous", "before", priority=True),
    ]

    def __init__(self, workspace: Path, state: State) -> None:
        super().__init__()
        self._workspace, self._state = workspace, state

    def compose(self) -> ComposeResult:
        """A line a field, what they come to, and the keys."""
        with Vertical():
            yield Label(Text("A sweep of your own\n", style="bold"))
            with VerticalScroll(can_focus=False):
                for name, hint in HINTS.items():
                    yield Label(hint, classes="hint")
                    yield Input(getattr(Draft(), name), id=name, max_length=500, classes="field")
            yield Static(id="preview")
            yield Label(Text("↑ ↓ field   enter trains and keeps it   esc goes back"))

    def on_input_changed(self) -> None:
        """Say what it comes to now."""
        self.query_one("#preview", Static).update(Text(self._told()))

    @property
    def _draft(self) -> Draft:
        return Draft(**{name: self.query_one(f"#{name}", Input).value for name in HINTS})

    def _told(self) -> str:
        source = presets.find(self._workspace)
        try:
            return forecast(self._draft, source.read_bytes(), str(source), self._state)
        except (DraftError, PresetError) as error:
            return f"✗ {error}"
        except OSError as error:
            return f"✗ {source}: {error.strerror}."

    def on_input_submitted(self) -> None:
        """Keep it, if it can be read."""
        try:
            question = save(self._draft, self._workspace)
        except (DraftError, PresetError) as error:
            self.notify(str(error), severity="error", markup=False)
        except OSError as error:
            self.notify(f"{error.filename}: {error.strerror}.", severity="error", markup=False)
        else:
            self.dismiss(question)
