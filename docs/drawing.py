"""Cells of a terminal as small SVG files: one still, or several one after another."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby

from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.app import App

WIDTH, HEIGHT, MARGIN = 10, 20, 10
"""Of a cell, and around all of them, in units of the picture."""
HALF = "▀"
"""The cells of pictures: they are drawn as one image, a pixel for each half."""
FONT = "ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace"

Row = tuple[Segment, ...]
Rows = tuple[Row, ...]


def rows_of(app: App[None]) -> Rows:
    """Return what stands on the screen, line by line."""
    return tuple(tuple(strip) for strip in app.screen._compositor.render_strips())


def still(rows: Rows, ground: str) -> str:
    """Return an SVG file with these lines."""
    pen = _Pen(ground)
    body = "".join(pen.row(place, row) for place, row in enumerate(rows)) + _image(rows)
    return _document(rows, ground, pen.rules, body)


def moving(frames: Sequence[Rows], ground: str, seconds: float) -> str:
    """Return an SVG file that shows these frames over and over, so many seconds each; equal lines are drawn once."""
    pen, parts, spans = _Pen(ground), [], set()
    for place in range(len(frames[0])):
        first = 0
        for row, alike in groupby(frame[place] for frame in frames):
            span = (first, first := first + len(list(alike)))
            drawn = pen.row(place, row)
            spans.add(span)
            parts.append(f'<g class="f{span[0]}-{span[1]}">{drawn}</g>' if span != (0, len(frames)) else drawn)
    rules = dict(pen.rules)
    whole = len(frames) * seconds
    for start, end in sorted(spans - {(0, len(frames))}):
        name, on, off = f"f{start}-{end}", 100 * start / len(frames), 100 * end / len(frames)
        rules[f".{name}"] = f"animation:{name} {whole:g}s step-end infinite"
        before = "0%{visibility:hidden}" if start else ""
        after = f"{off:.4g}%{{visibility:hidden}}" if end < len(frames) else ""
        rules[f"@keyframes {name}"] = f"{before}{on:.4g}%{{visibility:visible}}{after}"
    return _document(frames[0], ground, rules, "".join(parts))


class _Pen:
    """Draws lines, and remembers the looks that they need."""

    def __init__(self, ground: str) -> None:
        self._ground = ground
        self._names: dict[str, str] = {}

    @property
    def rules(self) -> dict[str, str]:
        """The style sheet: selectors and declarations."""
        return {f".{name}": look for look, name in self._names.items()}

    def row(self, place: int, row: Iterable[Segment]) -> str:
        """Draw a line: grounds first, then texts."""
        grounds, texts, column = [], [], 0
        for (ground, look), alike in groupby(row, key=lambda segment: _look(segment.style, self._ground)):
            text = "".join(segment.text for segment in alike)
            length = sum(Segment(character).cell_length for character in text)
            if HALF not in text:
                if ground != self._ground:
                    size = f'width="{WIDTH * length}" height="{HEIGHT}"'
                    grounds.append(f'<rect x="{WIDTH * column}" {size} fill="{ground}"/>')
                if text.strip():
                    skipped = len(text) - len(text.lstrip(" "))
                    shown = text.strip(" ")
                    wide = WIDTH * (length - len(text) + len(shown))
                    name = self._names.setdefault(look, f"c{len(self._names)}")
                    at = f'class="{name}" x="{WIDTH * (column + skipped)}" textLength="{wide}"'
                    texts.append(f"<text {at}>{escape(shown, quote=False)}</text>")
            column += length
        drawn = "".join(grounds + texts)
        return f'<g transform="translate(0,{HEIGHT * place})">{drawn}</g>' if drawn else ""


def _look(style: Style | None, ground: str) -> tuple[str, str]:
    """Return the ground of a style, and what CSS says of its text."""
    style = style or Style()
    ink, under = _hex(style.color, "#d7dde6"), _hex(style.bgcolor, ground)
    if style.reverse:
        ink, under = under, ink
    bold = ";font-weight:700" if style.bold else ""
    line = ";text-decoration:underline" if style.underline else ""
    return under, f"fill:{ink}{bold}{line}"


def _hex(color: Color | None, default: str) -> str:
    return color.get_truecolor().hex if color is not None and not color.is_default else default


def _image(rows: Rows) -> str:
    """Draw the half blocks of all lines as one image behind nothing else."""
    columns = sum(segment.cell_length for segment in rows[0])
    image = Image.new("RGBA", (columns, 2 * len(rows)))
    is_empty = True
    for line, row in enumerate(rows):
        column = 0
        for segment in row:
            if segment.text.startswith(HALF) and segment.style is not None:
                is_empty = False
                for offset, color in enumerate((segment.style.color, segment.style.bgcolor)):
                    if color is not None:
                        for place in range(column, column + segment.cell_length):
                            image.putpixel((place, 2 * line + offset), (*color.get_truecolor(), 255))
            column += segment.cell_length
    if is_empty:
        return ""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    size = f'width="{WIDTH * columns}" height="{HEIGHT * len(rows)}" preserveAspectRatio="none"'
    content = base64.b64encode(file.getvalue()).decode()
    return f'<image {size} style="image-rendering:pixelated" href="data:image/png;base64,{content}"/>'


def _document(rows: Rows, ground: str, rules: Mapping[str, str], body: str) -> str:
    width = WIDTH * sum(segment.cell_length for segment in rows[0]) + 2 * MARGIN
    height = HEIGHT * len(rows) + 2 * MARGIN
    sheet = "".join(f"{selector}{{{look}}}" for selector, look in rules.items())
    text = f"text{{font:16px {FONT};white-space:pre;transform:translateY(15px)}}rect{{shape-rendering:crispEdges}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        f"<style>{text}{sheet}</style>"
        f'<rect width="{width}" height="{height}" rx="8" fill="{ground}"/>'
        f'<g transform="translate({MARGIN},{MARGIN})">{body}</g></svg>\n'
    )
