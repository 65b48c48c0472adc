"""The arrays of a data set, images or rows of features, and their classes."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.data_shape import DataShape
from engine.data.part import Pixels


class Images(msgspec.Struct, frozen=True):
    """A data set in memory."""

    train_images: Pixels
    train_labels: NDArray[np.int32]
    test_images: Pixels
    test_labels: NDArray[np.int32]
    names: tuple[str, ...]
    """Names of the classes, in the order of their indices."""

    @property
    def shape(self) -> DataShape:
        """The shape of an image and the number of classes."""
        return DataShape(self.train_images.shape[1:], len(self.names), str(self.train_images.dtype))
