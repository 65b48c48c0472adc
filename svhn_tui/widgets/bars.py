"""Bars of text."""


def bar_of(share: float, width: int) -> str:
    """Return a bar that is full for a share of 0 to 1; the rest differs from it even without colours."""
    full = round(max(0.0, min(1.0, share)) * width)
    return "━" * full + "╌" * (width - full)
