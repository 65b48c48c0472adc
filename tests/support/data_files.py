"""Small files with the member names, dtypes and shapes of the data sets that people have."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def drawn(count: int, shape: tuple[int, ...], classes: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (count, *shape) of one brightness each, which says their class but for some noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    noise = random.integers(0, 20, (count, *shape))
    return (labels.reshape(-1, *[1] * len(shape)) * (230 // classes) + noise).astype(np.uint8), labels


def write_mnist(path: Path, train: int = 120, test: int = 40) -> Path:
    """As `keras.datasets.mnist` keeps it: `mnist.npz`."""
    (x_train, y_train), (x_test, y_test) = (drawn(n, (28, 28), 10, seed) for seed, n in enumerate((train, test)))
    arrays = {"x_train": x_train, "y_train": y_train.astype(np.uint8)}
    np.savez(path, **arrays, x_test=x_test, y_test=y_test.astype(np.uint8))
    return path


def write_cifar(path: Path, train: int = 120, test: int = 40) -> Path:
    """CIFAR-10 as `keras.datasets.cifar10.load_data` gives it: channels last, labels (N, 1)."""
    (x_train, y_train), (x_test, y_test) = (drawn(n, (32, 32, 3), 10, seed) for seed, n in enumerate((train, test)))
    arrays = {"x_train": x_train, "y_train": y_train.reshape(-1, 1).astype(np.uint8)}
    np.savez_compressed(path, **arrays, x_test=x_test, y_test=y_test.reshape(-1, 1).astype(np.uint8))
    return path


def write_svhn(folder: Path, train: int = 120, test: int = 40, *, compressed: bool = True) -> Path:
    """The original SVHN files: X (32, 32, 3, N) and y (N, 1), in which 10 is the digit 0."""
    from scipy.io import savemat

    folder.mkdir(exist_ok=True)
    for seed, (name, count) in enumerate((("train_32x32.mat", train), ("test_32x32.mat", test))):
        images, labels = drawn(count, (32, 32, 3), 10, seed)
        named = np.where(labels == 0, 10, labels).astype(np.uint8).reshape(-1, 1)
        savemat(folder / name, {"X": images.transpose(1, 2, 3, 0), "y": named}, do_compression=compressed)
    return folder
