"""The base of all messages between processes: one JSON object a line, with its type in `kind`."""

import msgspec

PROTOCOL_VERSION = 6


MAX_LINE_BYTES = 16 * 2**20
"""Longest line that is read, in bytes; no valid message comes near it."""


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Exceptions that decoding raises on text that is not a message, or on JSON that is nested too deeply."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", gc=False):
    """A message between processes."""


class Command(Message, frozen=True, kw_only=True):
    """A request to the host or a worker. `request` is any text; `Done`, `Refused` and the reply repeat it."""

    request: str = ""


class Event(Message, frozen=True, kw_only=True):
    """Something that happened."""
