"""The program's own themes: plain backgrounds, one accent, and colour only in addition to a word or sign."""

from textual.theme import Theme

DARK = Theme(
    name="svhn-dark",
    primary="#7cc7ff",
    secondary="#c3a6ff",
    accent="#7cc7ff",
    warning="#f0b060",
    error="#ff8080",
    success="#a5d46a",
    foreground="#d7dde6",
    background="#10141a",
    surface="#151b24",
    panel="#1d2735",
    dark=True,
    variables={"footer-key-foreground": "#7cc7ff", "block-cursor-background": "#24364d", "border": "#2a3545"},
)
LIGHT = Theme(
    name="svhn-light",
    primary="#0b5cad",
    secondary="#6b3fb0",
    accent="#0b5cad",
    warning="#8a5200",
    error="#b3261e",
    success="#2f6b12",
    foreground="#1b232d",
    background="#fbfcfd",
    surface="#f1f4f7",
    panel="#e3e9ef",
    dark=False,
    variables={"footer-key-foreground": "#0b5cad", "block-cursor-background": "#cfe2f5", "border": "#b9c4d0"},
)
CONTRAST = Theme(
    name="svhn-contrast",
    primary="#00ffff",
    secondary="#ffff00",
    accent="#00ffff",
    warning="#ffff00",
    error="#ff9090",
    success="#00ff7f",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#202020",
    dark=True,
    variables={"footer-key-foreground": "#00ffff", "block-cursor-background": "#004060", "border": "#ffffff"},
)
THEMES = (DARK, LIGHT, CONTRAST)
TITLES = {"svhn-dark": "dark", "svhn-light": "light", "svhn-contrast": "high contrast"}

DIM = {"svhn-light": "#5a6572", "svhn-contrast": "#d0d0d0"}
"""Colours of secondary text by theme, where it is not #8794a5."""
LINES_ON_DARK = ("#7cc7ff", "#ff9d5c", "#c3a6ff", "#a5d46a", "#ff8fb3", "#ffd75f", "#5fd7c4", "#b0bac5")
LINES_ON_LIGHT = ("#0b5cad", "#a84300", "#6b3fb0", "#2f6b12", "#a8174e", "#7a5c00", "#00695c", "#4a5560")


def dim_of(theme: Theme) -> str:
    """Return the colour of secondary text; its contrast to the background is above 4.5 to 1."""
    return DIM.get(theme.name, "#8794a5")


def line_colors(theme: Theme) -> tuple[str, ...]:
    """Return the colours of lines in a chart, as many as the largest question has configurations."""
    return LINES_ON_DARK if theme.dark else LINES_ON_LIGHT
