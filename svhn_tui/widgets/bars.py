"""Bars of text."""


def bar_of(share: float, width: int) -> str:
    """Return a bar of `width` cells that is filled to a share of 0 to 1; it can be read without colours."""
    full = round(max(0.0, min(1.0, share)) * width)
    return "━" * full + "╌" * (width - full)
