"""What `svhn-tui doctor` found about a workspace or its machine."""

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """Something that was looked at: how it is, what to do about it, and what a repair moves away."""

    level: Literal["fine", "note", "damaged"]
    text: str
    advice: str = ""
    moved: tuple[str, ...] = ()
    """Paths inside the workspace."""
