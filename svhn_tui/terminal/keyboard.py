"""Delivers keys one at a time: over a slow line many arrive at once, and none may overtake another.

Without it `/tanh` that is typed in one burst loses letters (`tests/terminal/test_keys.py`, tests of bursts). It costs
no time: a key on Questions takes 33 ms with it and 41 ms without (`python -m tests.measure --compare keyboard`).
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Input

from svhn_tui.words import clean

KeyOrPaste = events.Key | events.Paste
PASSES = 3
"""Passes through all queues from the focused widget up to the app: after the key, its effects, and theirs."""
LONGEST = 1.0
"""Longest time that a key waits for the one before, in seconds, if that one's end is never reported."""


class Keyboard:
    """Delays keys until everything that the previous key caused is done.

    Textual handles some keys at once and sends others through the focused widget first, and a dialog is opened a moment
    after its key. So `down` `enter` would act on the line above, and the `5` of `R` `5` would open another page.
    """

    def __init__(self, app: App[Any], deliver: Callable[[KeyOrPaste], Awaitable[None]]) -> None:
        self._app, self._deliver = app, deliver
        self._waiting: deque[KeyOrPaste] = deque()
        self._number = 0
        """Number of the key that was delivered last."""
        self.is_busy = False
        """Whether the effects of a key are still in progress."""

    async def add(self, typed: KeyOrPaste) -> None:
        """Deliver a key, now or when the effects of those before it are done."""
        self._waiting.append(typed)
        if not self.is_busy:
            await self._next()

    async def _next(self) -> None:
        self.is_busy = bool(self._waiting)
        if not self._waiting:
            return
        app, self._number = self._app, self._number + 1
        screen = app.screen
        receiver = app.focused or screen
        typed = self._waiting.popleft()
        if isinstance(typed, events.Paste) and isinstance(receiver, Input):  # which drops all but the first line
            typed.text = clean(" ".join(filter(None, map(str.strip, typed.text.splitlines()))))
        await self._deliver(typed)
        app.set_timer(LONGEST, lambda number=self._number: self._settled(number))
        self._pass([*receiver.ancestors_with_self] * PASSES, screen, self._number)

    def _pass(self, way: list[DOMNode], screen: Screen[Any], number: int) -> None:
        """Pass through the message queues one after the other, after the key."""
        while way:
            node, *way = way
            if node.call_later(self._pass, way, screen, number):
                return
        now = self._app.screen
        if now is screen or not now.call_after_refresh(self._app.call_later, self._settled, number):
            self._app.call_later(self._settled, number)

    async def _settled(self, number: int) -> None:
        """Deliver the next key."""
        if self.is_busy and number == self._number:
            await self._next()
