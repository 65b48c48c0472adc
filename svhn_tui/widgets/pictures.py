"""Small pictures in terminal cells: two pixels a cell, one above the other. Pure."""

from functools import lru_cache
from itertools import pairwise

from rich.color import Color
from rich.style import Style
from rich.text import Text

SHADES = " .:-=+*#%@"
"""Characters from dark to bright, for terminals without colours."""

Pixel = tuple[int, int, int]


@lru_cache(maxsize=512)
def picture(pixels: bytes, height: int, width: int, size: int, *, colored: bool = True) -> Text:
    """Draw an image in `size` columns and half as many rows.

    Args:
        pixels: red, green and blue bytes, row by row: height x width x 3 of them.
        height: of the image, in pixels.
        width: of the image, in pixels.
        size: columns of the drawing; the image is averaged down to size x size pixels.
        colored: half blocks in colour; else shades of text.
    """
    small = _averaged(pixels, height, width, size)
    text = Text(no_wrap=True)
    for row in range(0, size - 1, 2):
        if row:
            text.append("\n")
        for column in range(size):
            above, below = small[row][column], small[row + 1][column]
            if colored:
                text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
            else:
                text.append(SHADES[sum(above + below) * (len(SHADES) - 1) // (6 * 255)])
    return text


def _averaged(pixels: bytes, height: int, width: int, size: int) -> list[list[Pixel]]:
    """Average blocks of pixels; where the image is smaller, pixels repeat."""

    def spans(length: int) -> list[range]:
        edges = [index * length // size for index in range(size + 1)]
        return [range(first, max(last, first + 1)) for first, last in pairwise(edges)]

    columns = spans(width)

    def mean(rows: range, across: range) -> Pixel:
        offsets = [3 * (row * width + column) for row in rows for column in across]
        red, green, blue = (sum(pixels[offset + channel] for offset in offsets) // len(offsets) for channel in range(3))
        return red, green, blue

    return [[mean(rows, across) for across in columns] for rows in spans(height)]
