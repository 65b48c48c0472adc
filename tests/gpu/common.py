"""What the kit's processes share: made-up images, groups as the program trains them, and how to compare them."""

import contextlib
import hashlib

from engine.core.data_shape import ASSIGNMENT

SHAPE = ASSIGNMENT
NETWORKS = {
    "linear": (),
    "64": (64,),
    "256": (256,),
    "1024": (1024,),
    "1024,256": (1024, 256),
    "256,256,256": (256, 256, 256),
}


def specs_of(hidden, activation, seeds, epochs=2):
    from engine.core.spec import Configuration, Network, RunSpec, Training

    kind = activation if hidden else "linear"
    return [
        RunSpec(Configuration(Network(tuple(hidden), kind), Training(epochs=epochs)), seed, "data") for seed in seeds
    ]


def drawn(train, test):
    """Drawn images; large sets repeat 6,000 of them, darker and noisier, since drawing takes long."""
    import numpy as np

    from engine.data.demo import draw
    from engine.data.images import Images

    images, digits = draw(min(train + test, 9_000), np.random.default_rng(7))
    if train + test > len(images):
        random, count = np.random.default_rng(8), train + test
        chosen = random.integers(len(images), size=count)
        noise = random.integers(0, 32, size=(64, *images.shape[1:]), dtype=np.uint8)
        images, digits = images[chosen] // 2 + np.resize(noise, (count, *images.shape[1:])), digits[chosen]
    pixels, labels = np.ascontiguousarray(images.transpose(0, 3, 1, 2)), digits.astype(np.int32)
    return Images(pixels[:train], labels[:train], pixels[train:], labels[train:], tuple("0123456789"))


@contextlib.contextmanager
def precision_of(name):
    import jax

    with jax.default_matmul_precision(name):
        yield


def group_of(specs, images, precision, snapshots=None, trainer=None):
    """Return a FastGroup compiled with this precision."""
    from engine.training.jax_trainer import FastTrainer

    with precision_of(precision):
        return (trainer or FastTrainer()).group(specs, images, snapshots or [None] * len(specs))


def epochs_of(group, count):
    """Train so many epochs; return arrays (lanes, epochs) of what was measured."""
    import numpy as np

    trained = [group.train_epoch() for _ in range(count)]
    fields = ("loss", "accuracy", "test_loss", "test_correct")
    return {field: np.array([[getattr(row, field) for row in rows] for rows in trained]).T for field in fields}


def weights_of(group, lanes):
    return [group.finish(lane).weights() for lane in range(lanes)]


def hash_of(arrays):
    import numpy as np

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def state_hash(group, lane):
    """Weights and the optimizer's state, bit by bit."""
    from engine import protocol as p

    held = group.snapshot(lane, p.History())
    return hash_of([*held.parameters, *held.others, *held.optimizer])


def largest(one, other):
    import numpy as np

    return max(
        float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())
        for a, b in zip(one, other, strict=True)
    )


def relative(one, other):
    """||a - b|| / ||b - start|| needs the start; here ||a - b|| / ||b||, over all weights."""
    import numpy as np

    up = sum(float(((np.asarray(a, np.float64) - b) ** 2).sum()) for a, b in zip(one, other, strict=True))
    down = sum(float((np.asarray(b, np.float64) ** 2).sum()) for b in other)
    return (up / down) ** 0.5
