"""Textual's parser of what the terminal sends, but an escape inside a paste begins no key.

Textual passes on up to 32 characters after one as keys, which are commands here. Most terminals remove escapes from
what is pasted; `tmux paste-buffer -p` does not.
"""

from collections.abc import Iterable

from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.message import Message

ESCAPE = "\x1b"


class PasteParser(XTermParser):
    """Removes escapes between the sequences that begin and end a paste."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._is_paste = False
        self._seen = ""
        """Outside a paste: the characters that came last. Inside: those that may be the beginning of its end."""

    def feed(self, data: str) -> Iterable[Message]:
        """Return the messages that follow from further characters."""
        passed = "".join(map(self._passed, data))
        return super().feed(passed) if passed or not data else ()  # no characters are the end of all

    def _passed(self, character: str) -> str:
        """Return what becomes of a character: itself, nothing, or the whole sequence that it completes."""
        self._seen += character
        if not self._is_paste:
            self._seen = self._seen[-len(BRACKETED_PASTE_START) :]
            if self._seen == BRACKETED_PASTE_START:
                self._is_paste, self._seen = True, ""
            return character
        if self._seen == BRACKETED_PASTE_END:
            self._is_paste, self._seen = False, ""
            return BRACKETED_PASTE_END
        if BRACKETED_PASTE_END.startswith(self._seen):
            return ""
        seen, self._seen = self._seen, ESCAPE if character == ESCAPE else ""
        return seen.replace(ESCAPE, "")
