"""Formats numbers, times and texts, in one way everywhere."""

import math
import re
import time
import unicodedata
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

MINUS = "−"


def clean(text: str, *, newlines: bool = False) -> str:
    """Replace control characters, escape sequences and bidi controls in a text from outside by `�`."""
    if text.isprintable():
        return text
    allowed = "\n\t" if newlines else ""
    return "".join(
        character
        if character in allowed or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
        else "�"
        for character in text
    )


def on_one_line(text: str) -> str:
    """Join several lines, such as the last ones of a traceback, into one: `error · line 3, in f: x`."""
    return " · ".join(filter(None, map(str.strip, text.splitlines())))


def fitted(text: str) -> str:
    """Clean a line that is laid out already, without changing its width in cells."""
    return text if text.isprintable() else set_cell_size(clean(text), cell_len(text))


@lru_cache(4_096)
def in_order(text: str) -> str:
    """Return the sort key of a text: `relu 64` precedes `relu 256`; decimals are compared as text."""
    return re.sub(r"(?<![\d.])\d+", lambda digits: digits[0].zfill(12), text)


def in_cells(text: str, cells: int) -> str:
    """Pad a text to a width in terminal cells, or cut it with an ellipsis. A wide character has two cells."""
    if cell_len(text) > cells > 0:
        text = set_cell_size(text, cells - 1).rstrip() + "…"
    return set_cell_size(text, cells)


def count(number: int) -> str:
    """Format a count: `789,258`."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """Format a count of things: `1 run`, `20 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def accuracy(value: float | None, decimals: int = 4) -> str:
    """Format an accuracy: `0.5012`, or a dash if it is not known."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def spread(mean: float | None, deviation: float | None) -> str:
    """Format mean and standard deviation: `0.5012 ± 0.0041`; the mean alone without a deviation."""
    return accuracy(mean) if deviation is None else f"{accuracy(mean)} ± {accuracy(deviation)}"


def aligned_spread(mean: float | None, deviation: float | None) -> str:
    """Format as `spread` does, as wide without a deviation as with one, so that decimal points align in a column."""
    return spread(mean, deviation) if deviation is not None else accuracy(mean).ljust(6) + " " * 9


def number(value: float | None) -> str:
    """Format a measured number with about four significant digits: `35.72`, `0.0041`, `1.2e-07`."""
    if value is None or not math.isfinite(value):
        return "–"
    is_plain = 1e-3 <= abs(value) < 1e4
    text = f"{value:#.4g}".rstrip(".") if is_plain else f"{value:.4g}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


DURATION = re.compile(r"(?:(\d{1,6})\s*d)?\s*(?:(\d{1,6})\s*h)?\s*(?:(\d{1,6})\s*m)?\s*(?:(\d{1,9})\s*s)?")


def seconds_of(text: str) -> float:
    """Parse a duration as people write it, in seconds: `90s`, `45m`, `8h`, `1h30m`, `2d`.

    Raises:
        ValueError: it is not a duration, or is zero.
    """
    match = DURATION.fullmatch(text.strip())
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not whole:
        raise ValueError(f"{text[:40]!r} is not a duration; write 90s, 45m, 8h or 1h30m.")
    return whole


def duration(seconds: float | None) -> str:
    """Format seconds: `0.4 s`, `12 s`, `1 m 52 s`, `3 h 05 m`, `2 d 4 h`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes} m {rest:02d} s"
    days, hours = divmod(hours, 24)
    return f"{hours} h {minutes:02d} m" if days == 0 else f"{days} d {hours} h"


def size(bytes_: int) -> str:
    """Format a number of bytes: `371 kB`, `9.1 MB`, `11.2 GB`."""
    value = float(bytes_)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit in ("B", "kB") else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def rate(images_per_second: float) -> str:
    """Format images a second: `420 images/s`, `55.1 k images/s`, `1.42 M images/s`."""
    if images_per_second >= 999_500:
        return f"{images_per_second / 1e6:.2f} M images/s"
    if images_per_second >= 999.5:
        return f"{images_per_second / 1e3:.1f} k images/s"
    return f"{images_per_second:.0f} images/s"


def moment(seconds: float) -> str:
    """Format seconds since 1970 in local time: `Nov 24 10:05`."""
    return time.strftime("%b %d %H:%M", time.localtime(seconds))
