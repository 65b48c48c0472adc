"""The help page: the keys and their actions, read from the bindings."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.widgets import Static

from svhn_tui import settings, words
from svhn_tui.dialogs.dialog import Dialog
from svhn_tui.pages.page import Page
from svhn_tui.themes import dim_of
from svhn_tui.widgets.key_bar import ranked_bindings, sign_of

SECTIONS = ("this page", "its charts", "the list", "everywhere", "not now")
SIDES = (("this page", "everywhere"), ("its charts", "the list", "not now"))
HIDDEN = {"screen.copy_text", "app.focus_next", "app.focus_previous", "scroll_left", "scroll_right", "page_left",
          "page_right", "select"}  # fmt: skip
"""The keys that Textual binds in every program, which need no explanation."""
PAGES_TOGETHER = "open the pages"
TWO_COLUMNS = 100
"""Least width of the window, in cells, for two columns of sections."""
KEY_CELLS = 11
"""Width of the column of keys; `1 2 3 4 5 6` is the longest."""
Keys = dict[str, list[str]]
"""Actions, and the keys of each."""


class HelpPage(Dialog[None]):
    """Lists the keys of the page from which it was opened."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,question_mark,q,enter", "dismiss", "back")]
    DEFAULT_CLASSES = "dialog wide"

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._title = page.TITLE_IN_BAR
        self._sections = dict(sections_of(page, ranked_bindings(page)))

    def compose(self) -> ComposeResult:
        """Compose one text that scrolls."""
        with VerticalScroll():
            yield Static(self._text())

    def _text(self) -> Table:
        dim, page = dim_of(self.app.current_theme), Table.grid(padding=(0, 3, 0, 0))
        title = Text.assemble((f"Keys of {self._title}", "bold"), ("   esc goes back\n", dim))
        listed = {name: self._section(name, keys) for name, keys in self._sections.items() if keys}
        page.add_row(title)
        if self.app.size.width >= TWO_COLUMNS:
            sides = Table.grid(padding=(0, 4, 0, 0))
            sides.add_row(*(_below(table for name, table in listed.items() if name in side) for side in SIDES))
            page.add_row(sides)
        else:
            page.add_row(_below(listed.values()))
        page.add_row(Text(alerts_text(settings.load(), words.clean(str(settings.settings_file()))), dim))
        return page

    def _section(self, name: str, keys: Keys) -> Table:
        theme = self.app.current_theme
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", no_wrap=True, min_width=KEY_CELLS)
        table.add_row("", Text(name, dim_of(theme)))
        for text, pressed in keys.items():
            table.add_row(Text(" ".join(pressed), f"bold {theme.primary}"), text)
        table.add_row("", "")
        return table


def alerts_text(liked: settings.Settings, file: str) -> str:
    """Say whether the terminal alerts the user, and where that is set."""
    when = "when a question is complete, or a run failed or diverged"
    if liked.alerts:
        return f'A bell rings and a notification appears {when}; "alerts": false in {file} turns them off.'
    return f'No bell rings {when}; "alerts": true in {file} turns it on.'


def sections_of(page: Page, bindings: Iterable[ActiveBinding]) -> Iterator[tuple[str, Keys]]:
    """Group the active keys by page, chart and program, those of one action together; inactive keys follow."""
    sections: dict[str, Keys] = {name: {} for name in SECTIONS}
    for active in bindings:
        binding = active.binding
        if active.enabled and binding.description and binding.action not in HIDDEN:
            keys = sections[_section_of(binding.action, active.node, page)]
            keys.setdefault(_text_of(binding), []).append(sign_of(binding.key))
    known = {text for keys in sections.values() for text in keys}
    for binding in Binding.make_bindings(type(page).BINDINGS):
        if (text := _text_of(binding)) not in known:
            sections["not now"].setdefault(text, []).append(sign_of(binding.key))
    yield from sections.items()


def _text_of(binding: Binding) -> str:
    text = binding.tooltip or binding.description
    if binding.action.startswith("open_page("):
        return PAGES_TOGETHER
    return text.lower() if text.istitle() else text[0].lower() + text[1:]  # Textual's own: `Page Up`


def _section_of(action: str, node: DOMNode, page: Page) -> str:
    if node is page:
        return "its charts" if action.startswith("chart(") else "this page"
    return "everywhere" if node is page.app else "the list"


def _below(tables: Iterable[Table]) -> Table:
    page = Table.grid()
    for table in tables:
        page.add_row(table)
    return page
