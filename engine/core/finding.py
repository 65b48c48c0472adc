"""Findings of `svhn-tui doctor` about a workspace or its machine."""

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """The result of one check: its level, what to do about it, and what a repair moves away."""

    level: Literal["fine", "note", "damaged"]
    text: str
    advice: str = ""
    moved: tuple[str, ...] = ()
    """Paths inside the workspace."""
