"""Which images a run trains on, and in what order. Pure."""

import numpy as np
from numpy.typing import NDArray


def order_of(seed: int, epoch: int, images: int) -> NDArray[np.int32]:
    """Return the order in which a run sees its images (images,): it depends on the seed and the epoch alone.

    Drawn by NumPy's frozen generator, whose stream no version changes: under 1 ms for 50,000 images, where sorting
    random keys on the device takes 20.
    """
    generator = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, epoch))))
    return generator.permutation(images).astype(np.int32)


def held_in(images: int, validation_split: float) -> int:
    """Return how many of the images Keras trains on: the last ones are held out."""
    return int(images * (1 - validation_split))
