"""A model of the terminal's cells, from which the difference to the next frame is computed. Pure.

Textual writes whole widgets, each piece of text with all of its colours; over a slow line the user waits for that.
`Cells` reads the output, and returns the shortest output with the same effect on the terminal. It cuts
Live's output from 34 to 5 KB/s, for 0.4 % of a core (`python -m tests.measure --compare cells`).
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from rich.cells import cell_len

TOKEN = re.compile(
    r"\x1b\[(?P<line>\d*);?(?P<column>\d*)H"
    r"|\x1b\[(?P<style>[\d;]*)m"
    r"|(?P<mode>\x1b\[[<=>?][\d;]*\$?[a-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x07)"
    r"|(?P<newline>\n)"
    r"|(?P<text>[^\x00-\x1f\x7f]+)"
    r"|(?P<other>\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|.)",
    re.DOTALL,
)
"""`mode` is what changes no cell: terminal modes, the title, the clipboard, the bell. Newlines never scroll."""
SCREEN_MODES = ("?1049", "?1047", "?47")
SYNC_BEGAN, SYNC_ENDED = "\x1b[?2026h", "\x1b[?2026l"
LARGEST_GAP = 4
"""Most unchanged cells that are written again instead of skipped: moving the cursor costs as many bytes."""
UNKNOWN, REST = "\0", ""
"""A cell of unknown content, and one that is covered by the wide character before it."""
RESET = "\x1b[0m"
COLORS = {"39", *map(str, (*range(30, 38), *range(90, 98)))}
GROUNDS = {"49", *map(str, (*range(40, 48), *range(100, 108)))}


class CellStyle(NamedTuple):
    """The style of a cell, as parameters of SGR; empty is the terminal's own."""

    attributes: str = ""
    color: str = ""
    ground: str = ""


PLAIN = CellStyle()


class Cells:
    """A model of the terminal's cells, of its cursor and of its current style."""

    def __init__(self, *, has_colors: bool = True) -> None:
        """Begin with unknown cells. Without colours (`NO_COLOR`) only bold, underline and the like are sent."""
        self._has_colors = has_colors
        self._rows: dict[int, _Row] = {}
        self._changed: dict[int, set[int]] = {}
        self._row = self._column = 0
        self._look = PLAIN
        self._cursor: tuple[int, int] | None = None
        self._written: CellStyle | None = None
        self._holds_sync = False

    def forget(self) -> None:
        """Forget all cells: the terminal was resized, or another program wrote to it."""
        self._rows.clear()
        self._changed.clear()
        self._cursor = self._written = None

    def least_of(self, content: str) -> str:
        """Return the shortest output with the effect of `content`."""
        parts: list[str] = []
        is_placed = False
        for token in TOKEN.finditer(content):
            kind = token.lastgroup
            if kind == "text":
                self._put(token["text"])
            elif kind == "style":
                self._look = style_after(self._look, token["style"], has_colors=self._has_colors)
            elif kind == "column":
                self._row, self._column = int(token["line"] or 1) - 1, int(token["column"] or 1) - 1
                is_placed = True
            elif kind == "newline":
                self._row, self._column = self._row + 1, 0
            else:
                parts.append(self._flushed())
                parts.append(self._passed(token.group(), changes_cells=kind == "other"))
        parts.append(self._flushed())
        if is_placed and self._cursor != (self._row, self._column):
            parts.append(self._released() + self._moved(self._row, self._column))
        return "".join(parts)

    def _passed(self, sequence: str, *, changes_cells: bool) -> str:
        """Return a sequence unchanged; the begin and end of an update without content are dropped."""
        if sequence == SYNC_BEGAN:
            self._holds_sync = True
            return ""
        if sequence == SYNC_ENDED and self._holds_sync:
            self._holds_sync = False
            return ""
        if changes_cells:
            sequence = self._moved(self._row, self._column) + change_of(self._written, self._look) + sequence
            self.forget()
        elif sequence[2:-1] in SCREEN_MODES:
            sequence = RESET + sequence  # the shell after the program has the terminal's own colours
            self.forget()
        return self._released() + sequence

    def _released(self) -> str:
        held, self._holds_sync = self._holds_sync, False
        return SYNC_BEGAN if held else ""

    def _put(self, text: str) -> None:
        """Write text at the cursor, and record the cells that it changes."""
        start, width = self._column, cell_len(text)
        end = self._column = start + width
        is_plain = width == len(text)
        shown = list(text) if is_plain else [text, *[REST] * (width - 1)]  # others are written whole
        looks = [self._look] * len(shown)
        if " " in text and not self._look.attributes:
            blank = CellStyle(ground=self._look.ground)
            looks = [blank if character == " " else self._look for character in shown]
        row = self._rows.setdefault(self._row, _Row([], []))
        row.reach(end)
        if row.shown[start:end] == shown and row.looks[start:end] == looks:
            return
        row.cut(start, end)
        changed = self._changed.setdefault(self._row, set())
        for column, (character, look) in enumerate(zip(shown, looks, strict=True), start):
            if row.shown[column] != character or row.looks[column] != look:
                row.shown[column], row.looks[column] = character, look
                changed.add(column if is_plain else start)

    def _flushed(self) -> str:
        """Return the output that updates the changed cells."""
        parts: list[str] = []
        for line in sorted(self._changed):
            row = self._rows[line]
            for start, end in row.spans(sorted(self._changed[line])):
                parts.append(self._moved(line, start))
                for character, look in zip(row.shown[start:end], row.looks[start:end], strict=True):
                    if not _is_same(character, look, self._written):
                        parts.append(change_of(self._written, look))
                        self._written = look
                    parts.append(character)
                self._cursor = (line, end)
        self._changed.clear()
        return self._released() + "".join(parts) if parts else ""

    def _moved(self, line: int, column: int) -> str:
        before, self._cursor = self._cursor, (line, column)
        if before == (line, column):
            return ""
        if before is not None and before[0] == line and before[1] < column:
            return f"\x1b[{column - before[1]}C"
        return f"\x1b[{line + 1};{column + 1}H"


class _Row(NamedTuple):
    """The cells of a line: characters and styles."""

    shown: list[str]
    looks: list[CellStyle]

    def reach(self, end: int) -> None:
        """Extend the line to at least so many cells."""
        missing = end - len(self.shown)
        if missing > 0:
            self.shown.extend(UNKNOWN * missing)
            self.looks.extend([PLAIN] * missing)

    def cut(self, start: int, end: int) -> None:
        """Mark wide characters as unknown that writing from `start` to `end` cuts in two."""
        for edge in (start, end):
            if edge < len(self.shown) and self.shown[edge] == REST:
                before = next(column for column in range(edge - 1, -1, -1) if self.shown[column] != REST)
                self.shown[before] = UNKNOWN
                for column in range(edge, len(self.shown)):
                    if self.shown[column] != REST:
                        break
                    self.shown[column] = UNKNOWN

    def spans(self, columns: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Join cells to spans that are written together, over small gaps of unchanged ones."""
        pieces: list[tuple[int, int]] = []
        for column in columns:
            end = column + 1
            while end < len(self.shown) and self.shown[end] == REST:
                end += 1
            if pieces and column <= pieces[-1][1] + LARGEST_GAP and UNKNOWN not in self.shown[pieces[-1][1] : column]:
                pieces[-1] = (pieces[-1][0], max(end, pieces[-1][1]))
            else:
                pieces.append((column, end))
        yield from pieces


def _is_same(character: str, look: CellStyle, written: CellStyle | None) -> bool:
    """Say whether a character can be written in the current style; a blank has no foreground colour."""
    if written is None:
        return False
    if character == " " and not look.attributes and not written.attributes:
        return look.ground == written.ground
    return look == written


@lru_cache(maxsize=4096)
def style_after(look: CellStyle, parameters: str, *, has_colors: bool) -> CellStyle:
    """Return the style after an SGR sequence with these parameters."""
    codes = iter(parameters.split(";"))
    attributes, color, ground = look
    for code in codes:
        if code in ("", "0"):
            attributes, color, ground = PLAIN
        elif code in ("38", "48"):
            kind = next(codes, "")
            value = ";".join([code, kind, *islice(codes, 1 if kind == "5" else 3)])
            color, ground = (value, ground) if code == "38" else (color, value)
        elif code in COLORS:
            color = "" if code == "39" else code
        elif code in GROUNDS:
            ground = "" if code == "49" else code
        elif code not in attributes.split(";"):
            attributes = f"{attributes};{code}" if attributes else code
    return CellStyle(attributes, color, ground) if has_colors else CellStyle(attributes)


@lru_cache(maxsize=4096)
def change_of(before: CellStyle | None, after: CellStyle) -> str:
    """Return the shortest SGR sequence that changes the terminal's style."""
    had = set(before.attributes.split(";")) if before is not None else {"?"}
    if not had - {""} <= set(after.attributes.split(";")):
        return f"\x1b[{';'.join(filter(None, ('0', *after)))}m"
    assert before is not None
    added = [code for code in after.attributes.split(";") if code and code not in had]
    if after.color != before.color:
        added.append(after.color or "39")
    if after.ground != before.ground:
        added.append(after.ground or "49")
    return f"\x1b[{';'.join(added)}m" if added else ""
