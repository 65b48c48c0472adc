"""The data sets that a client opens: those that the user named, and those of `experiments.json`. Pure."""

from collections.abc import Collection

from msgspec.structs import replace

from engine.protocol import OpenData
from svhn_tui.presets import Presets


def openings_of(
    book: Presets, source: tuple[str, ...], layout: str = "", only: Collection[str] | None = None
) -> tuple[OpenData, ...]:
    """Return the commands, the one for the data in use first.

    Args:
        book: names data sets; without a source, its first one is in use.
        source: the paths of the command line.
        layout: the order of the axes there.
        only: the names that are needed; None: all.
    """
    named = {name: OpenData(source=some.paths, layout=some.layout, name=name) for name, some in book.data.items()}
    is_given = source or not named
    first = OpenData(source=source, layout=layout) if is_given else named.pop(next(iter(named)))
    beside = (opening for name, opening in named.items() if only is None or name in only)
    return (first, *(replace(opening, is_beside=True) for opening in beside))
