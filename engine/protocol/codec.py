"""Encodes messages as lines, and decodes them."""

from functools import cache

import msgspec

from engine.protocol.commands import AnyCommand
from engine.protocol.events import AnyEvent
from engine.protocol.message import Message
from engine.protocol.worker_commands import WorkerCommand

_encoder = msgspec.json.Encoder()


_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


@cache
def _command_decoder() -> msgspec.json.Decoder[AnyCommand]:
    """Make the decoder when a command comes first: a screen reads none."""
    return msgspec.json.Decoder(AnyCommand)


@cache
def _worker_decoder() -> msgspec.json.Decoder[WorkerCommand]:
    return msgspec.json.Decoder(WorkerCommand)


def encode(message: Message) -> bytes:
    """Return the message as one line, its newline included."""
    return _encoder.encode(message) + b"\n"


def decode_event(line: bytes) -> AnyEvent:
    """Read one event.

    Raises:
        msgspec.MsgspecError: the line is not an event.
    """
    return _event_decoder.decode(line)


def decode_command(line: bytes) -> AnyCommand:
    """Read one command of a screen or a command line.

    Raises:
        msgspec.MsgspecError: the line is not a command.
    """
    return _command_decoder().decode(line)


def decode_worker_command(line: bytes) -> WorkerCommand:
    """Read one command of the host to a worker.

    Raises:
        msgspec.MsgspecError: the line is not a command.
    """
    return _worker_decoder().decode(line)
