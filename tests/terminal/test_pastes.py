"""What is pasted is text, whatever it holds and however it arrives."""

import pytest
from textual import events

from svhn_tui.terminal.pastes import PasteParser

BEGIN, END = "\x1b[200~", "\x1b[201~"


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("pasted", "text"),
    [
        ("plain", "plain"),
        ("a\x1bqqqR5\rS\x1b\x1b[Ay", "aqqqR5\rS[Ay"),
        ("\x1b[20\x1b[2", "[20[2"),
        ("\x1b" * 40 + "x" * 40, "x" * 40),
        ("\x1b[200~in\x1b[I\x1b[<0;3;3M", "[200~in[I[<0;3;3M"),
        ("", None),
    ],
)
def test_no_key_comes_out_of_a_paste(pasted: str, text: str | None, size: int):
    sent, parser = f"k{BEGIN}{pasted}{END}\x1b[Aj", PasteParser()
    messages = [message for start in range(0, len(sent), size) for message in parser.feed(sent[start : start + size])]
    keys = [message.key for message in messages if isinstance(message, events.Key)]
    assert keys == ["k", "up", "j"]
    pastes = [message.text for message in messages if isinstance(message, events.Paste)]
    assert pastes == ([text] if text is not None else [""])
    assert len(messages) == 3 + len(pastes)
