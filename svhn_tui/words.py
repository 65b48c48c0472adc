"""How numbers, times and texts are written, everywhere the same."""

import math
import re
import time
import unicodedata
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

MINUS = "−"


def clean(text: str, *, newlines: bool = False) -> str:
    """Return outside text without what a terminal would obey: control characters, escape codes, bidi controls."""
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
    """Return what was said in several lines, such as the last ones of a traceback, as one: `said · line 3, in f: x`."""
    return " · ".join(filter(None, map(str.strip, text.splitlines())))


def fitted(text: str) -> str:
    """Return a line that is laid out already as `clean` does, in as many cells as it had: what showed nothing goes."""
    return text if text.isprintable() else set_cell_size(clean(text), cell_len(text))


@lru_cache(4_096)
def in_order(text: str) -> str:
    """Return what a text is sorted by, so that `relu 64` comes before `relu 256`; digits behind a point stay."""
    return re.sub(r"(?<![\d.])\d+", lambda digits: digits[0].zfill(12), text)


def in_cells(text: str, cells: int) -> str:
    """Return a text in so many cells of a terminal: padded, or cut with an ellipsis. A wide character takes two."""
    if cell_len(text) > cells > 0:
        text = set_cell_size(text, cells - 1).rstrip() + "…"
    return set_cell_size(text, cells)


def count(number: int) -> str:
    """`789,258`."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """`1 run`, `20 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def accuracy(value: float | None, decimals: int = 4) -> str:
    """`0.5012`, or a dash for what is not known."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def spread(mean: float | None, deviation: float | None) -> str:
    """`0.5012 ± 0.0041`; the mean alone where one run says nothing about the spread."""
    return accuracy(mean) if deviation is None else f"{accuracy(mean)} ± {accuracy(deviation)}"


def aligned_spread(mean: float | None, deviation: float | None) -> str:
    """Like `spread`, and as wide where there is no deviation, so that in a column the points stand in line."""
    return spread(mean, deviation) if deviation is not None else accuracy(mean).ljust(6) + " " * 9


def number(value: float | None) -> str:
    """A measured number with sensible digits: `35.72`, `0.0041`, `1.2e-07`."""
    if value is None or not math.isfinite(value):
        return "–"
    is_plain = 1e-3 <= abs(value) < 1e4
    text = f"{value:#.4g}".rstrip(".") if is_plain else f"{value:.4g}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


DURATION = re.compile(r"(?:(\d{1,6})\s*d)?\s*(?:(\d{1,6})\s*h)?\s*(?:(\d{1,6})\s*m)?\s*(?:(\d{1,9})\s*s)?")


def seconds_of(text: str) -> float:
    """Read a duration as people write it: `90s`, `45m`, `8h`, `1h30m`, `2d`.

    Raises:
        ValueError: it is none, or nothing at all.
    """
    match = DURATION.fullmatch(text.strip())
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not whole:
        raise ValueError(f"{text[:40]!r} is not a duration; write 90s, 45m, 8h or 1h30m.")
    return whole


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `1 m 52 s`, `3 h 05 m`, `2 d 4 h`."""
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
    """`371 kB`, `9.1 MB`, `11.2 GB`."""
    value = float(bytes_)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit in ("B", "kB") else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def rate(images_per_second: float) -> str:
    """`420 images/s`, `55.1 k images/s`, `1.42 M images/s`."""
    if images_per_second >= 999_500:
        return f"{images_per_second / 1e6:.2f} M images/s"
    if images_per_second >= 999.5:
        return f"{images_per_second / 1e3:.1f} k images/s"
    return f"{images_per_second:.0f} images/s"


def moment(seconds: float) -> str:
    """`Nov 24 10:05`, in local time, of seconds since 1970."""
    return time.strftime("%b %d %H:%M", time.localtime(seconds))
