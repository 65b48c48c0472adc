"""The user's notes on runs, and verdicts on the statements of a question."""

from typing import Literal

import msgspec


class Note(msgspec.Struct, frozen=True, gc=False):
    """What the user wrote about a run."""

    run_id: str
    text: str = ""
    tags: tuple[str, ...] = ()


Verdict = Literal["open", "true", "false"]


MAX_STATEMENT = 4_000
"""Longest statement, and longest list of facts behind one, in characters."""


MAX_STATEMENTS = 100
"""Largest number of statements of one question."""


class Statement(msgspec.Struct, frozen=True, gc=False):
    """A statement of a multiple-choice question, what the user thinks of it, and the titles of the facts behind it."""

    text: str
    verdict: Verdict = "open"
    facts: tuple[str, ...] = ()
