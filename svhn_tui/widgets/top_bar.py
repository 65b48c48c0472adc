"""The bar above every page: the program's name, the pages, and the load of the machine."""

from collections.abc import Iterable

from rich.text import Text
from textual import events

from svhn_tui import words
from svhn_tui.client.state import State
from svhn_tui.themes import dim_of
from svhn_tui.widgets.sheet import Sheet

GAP = 2
WIDE = 100
"""Width in cells from which all pages are named; below, only the open one."""


class TopBar(Sheet):
    """Shows one line; a click on a page's name opens it."""

    DEFAULT_CSS = "TopBar { dock: top; height: 1; background: $panel; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._page_spans: dict[range, str] = {}

    def show(self, state: State, pages: Iterable[tuple[str, str]], current: str) -> None:
        """Draw the bar for a state; `pages` are keys and names."""
        theme = self.app.current_theme
        dim, width = dim_of(theme), max(0, self.size.width - 2)
        left = Text.assemble(("svhn-tui", f"bold {theme.primary}"), "  ")
        spans = {}
        for key, name in pages:
            begin = left.cell_len
            if name == current:
                left.append(f" {key} {name} ", f"bold {theme.background} on {theme.primary}")
            else:
                left.append(f" {key} {name} " if width >= WIDE else f" {key} ", dim)
            spans[range(begin, left.cell_len)] = name
        self._page_spans = spans
        room = max(0, width - left.cell_len - 1)
        parts = self._right(state)
        while parts and sum(part.cell_len + GAP for part in parts) - GAP > room:
            del parts[-1]  # either all names or none
        right = Text(" " * GAP).join(parts)
        gap = " " * max(1, width - left.cell_len - right.cell_len)
        self.update(Text.assemble(left, gap, right, no_wrap=True, overflow="crop"), layout=False)

    async def on_click(self, event: events.Click) -> None:
        """Open the clicked page."""
        for span, name in self._page_spans.items():
            if event.x - 1 in span:
                await self.app.run_action(f"open_page('{name}')")

    def _right(self, state: State) -> list[Text]:
        """The texts of the bar, the most important first."""
        theme = self.app.current_theme
        parts: list[tuple[str, str]] = []
        if not state.connected:
            parts.append(("connecting…" if not state.workspace else "connection lost", f"bold {theme.error}"))
        if state.data is not None and state.data.is_demo:
            parts.append(("demo data", f"bold {theme.warning}"))
        if state.connected and state.running:
            training = words.plural(len(state.running), "run")
            parts.append((f"training {training}", str(theme.success)))
            left = state.seconds_waiting + max((live.seconds_left or 0 for live in state.running.values()), default=0)
            parts.append((f"{words.duration(left)} left", str(theme.success)))
        elif state.connected and state.assigned:
            parts.append((f"starting {words.plural(len(state.assigned), 'run')}", str(theme.success)))
        elif state.connected and state.trying:
            parts.append((words.clean(f"trying {state.trying[0].file}"), str(theme.success)))
        elif state.connected:
            parts.append((_rest_of(state), dim_of(theme)))
        for sample in state.devices[:1]:
            used = f"{sample.name} {'–' if sample.utilisation is None else f'{100 * sample.utilisation:.0f}%'}"
            heat = f" {sample.temperature:.0f}°" if sample.temperature is not None else ""
            more = f" {words.size(sample.memory_used)}{heat}" if self.size.width >= WIDE else ""
            parts.append((used + more, dim_of(theme)))
        return [Text(text, style) for text, style in parts]


def _rest_of(state: State) -> str:
    """Return the text while no run is training: the number of waiting or paused runs, or else of finished ones."""
    waiting = state.waiting.values()
    if not waiting:
        return f"idle · {words.plural(len(state.results), 'run')}"
    return f"{words.plural(len(waiting), 'run')} {'paused' if all(run.paused for run in waiting) else 'waiting'}"
