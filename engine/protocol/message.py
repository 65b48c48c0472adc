"""The base of all messages between processes: one JSON object a line, with its type in `kind`."""

import msgspec

PROTOCOL_VERSION = 6


MAX_LINE_BYTES = 16 * 2**20
"""A longer line is refused: no honest message comes near it."""


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises on text that is no message, or JSON nested without end."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", gc=False):
    """Anything that crosses a process boundary."""


class Command(Message, frozen=True, kw_only=True):
    """A wish. `request` is any text of the sender's; `Done`, `Refused` and what answers it repeat it."""

    request: str = ""


class Event(Message, frozen=True, kw_only=True):
    """Something that happened."""
