"""Alerts through the terminal: a bell, and a desktop notification where the terminal supports it.

OSC 99 is kitty's, OSC 777 urxvt's (foot, Ghostty and WezTerm support it too), OSC 9 iTerm2's, which most others support
or ignore. One of them is sent, since some terminals would show two. tmux forwards them only with `allow-passthrough`;
it always forwards the bell.
"""

from collections.abc import Mapping

from svhn_tui.words import clean

LONGEST = 200
"""Longest notification, in characters; desktops cut longer ones."""
KITTY, URXVT = ("KITTY_WINDOW_ID",), ("WEZTERM_PANE", "GHOSTTY_RESOURCES_DIR")
"""Variables that terminals set, also seen inside tmux."""
BELL_ONLY = ("linux", "dumb", "vt100", "vt220")
"""Values of TERM without notifications; some would print an unknown sequence."""


def call_of(title: str, text: str, environment: Mapping[str, str]) -> str:
    """Return the sequences that alert the user.

    Args:
        title: of the notice, without a semicolon.
        text: one sentence; control sequences are removed from it.
        environment: by which the terminal is recognised.
    """
    notice = _notice_of(title, clean(" ".join(text.split()))[:LONGEST], environment)
    if notice and "TMUX" in environment:
        notice = f"\x1bPtmux;{notice.replace(chr(27), chr(27) * 2)}\x1b\\"
    return f"{notice}\a"


def _notice_of(title: str, text: str, environment: Mapping[str, str]) -> str:
    kind, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if kind in BELL_ONLY or not text:
        return ""
    if "kitty" in kind or any(name in environment for name in KITTY):
        return f"\x1b]99;i=svhn-tui:d=0;{title}\x1b\\\x1b]99;i=svhn-tui:p=body;{text}\x1b\\"
    is_urxvt = kind.startswith(("rxvt", "foot", "xterm-ghostty", "wezterm")) or program in ("WezTerm", "ghostty")
    if is_urxvt or any(name in environment for name in URXVT):
        return f"\x1b]777;notify;{title};{text.replace(';', ',')}\x1b\\"
    return f"\x1b]9;{title}: {text}\x1b\\"
