"""Events as journals hold them that a program with version 2 of the protocol wrote: an epoch in columns. Pure."""

import msgspec

from engine import protocol as p
from engine.core.results import Number


class EpochColumns(p.Message, frozen=True, kw_only=True, tag="EpochEnded"):
    """An epoch of every lane of a group; one value a lane, and accuracies without their counts."""

    group: str
    runs: tuple[str, ...]
    epoch: int
    loss: tuple[Number, ...]
    accuracy: tuple[Number, ...]
    test_loss: tuple[Number, ...]
    test_accuracy: tuple[Number, ...]
    seconds: float
    images_per_second: float

    @property
    def event(self) -> p.EpochEnded:
        """The same event as it is today.

        Raises:
            ValueError: its columns do not fit together.
        """
        lanes = zip(self.loss, self.accuracy, self.test_loss, self.test_accuracy, strict=True)
        rows = (
            p.EpochRow(loss=loss, accuracy=accuracy, test_loss=test_loss, test_correct=None, test_images=0,
                       seconds=self.seconds, recorded_test_accuracy=test_accuracy)
            for loss, accuracy, test_loss, test_accuracy in lanes
        )  # fmt: skip
        return p.EpochEnded(
            group=self.group, runs=self.runs, epoch=self.epoch, rows=tuple(rows),
            images_per_second=self.images_per_second,
        )  # fmt: skip


_decoder = msgspec.json.Decoder(EpochColumns)


def decode_event(text: bytes) -> p.AnyEvent:
    """Read one event, of today or of then.

    Raises:
        msgspec.MsgspecError: the text is neither.
    """
    try:
        return p.decode_event(text)
    except msgspec.ValidationError as error:
        try:
            return _decoder.decode(text).event
        except ValueError:
            raise error from None
