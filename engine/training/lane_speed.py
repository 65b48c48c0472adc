"""`python -m engine.training.lane_speed`: how fast a card trains a network, by how many seeds train side by side.

Trains two epochs of each number of lanes, on noise in place of images, and prints epochs a second of all lanes together
as JSON, by lanes: as far as the card's memory allows, and as long as more lanes gain something. The epochs are compiled
as in training, so that the one that is chosen comes out of JAX's cache then.
"""

import argparse
import json
import os
from collections.abc import Sequence

import msgspec
import numpy as np

from engine.core.data_shape import DataShape
from engine.core.spec import Configuration, RunSpec
from engine.data.dataset import Images
from engine.machine import card, gpu_errors
from engine.machine.backends import clear_environment, prepare_jax
from engine.machine.clean_log import clean_stderr
from engine.scheduling.rates import GAIN
from engine.training.trainer import Trainer


def noise(shape: DataShape, train: int, test: int) -> Images:
    """Return images of nothing, which train as fast as any."""
    random = np.random.default_rng(0)
    pixels = random.integers(256, size=(train + test, *shape.inputs), dtype=np.uint8).astype(shape.dtype, copy=False)
    labels = random.integers(shape.classes, size=train + test, dtype=np.int32)
    names = tuple(map(str, range(shape.classes)))
    return Images(pixels[:train], labels[:train], pixels[train:], labels[train:], names)


def rates(trainer: Trainer, configuration: Configuration, images: Images, lanes: Sequence[int]) -> dict[int, float]:
    """Return the epochs a second of all lanes together, by how many there are; 0 of those that do not fit."""
    found: dict[int, float] = {}
    for count in sorted(lanes):
        specs = [RunSpec(configuration, seed, "noise") for seed in range(count)]
        try:
            group = trainer.group(specs, images, [None] * count)
            rows = [group.train_epoch() for _ in range(2)][-1]  # the first one includes what is loaded once
        except Exception as error:
            if not gpu_errors.is_out_of_memory(str(error)):
                raise
            found[count] = 0.0
            break
        best = max(found.values(), default=0.0)
        found[count] = count / rows[0].seconds if rows and rows[0].seconds else 0.0
        if found[count] < GAIN * best:
            break
    return found


def main() -> int:
    """Measure on a card, or without one on the CPU, and print."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.lane_speed")
    parser.add_argument("--gpu", required=True, help="UUID of the GPU, or none")
    parser.add_argument("--host", default="", help="whose it is: workers of one host may share a GPU")
    parser.add_argument("--configuration", required=True, help="as JSON")
    parser.add_argument("--shape", required=True, help="of the data, as JSON")
    parser.add_argument("--images", required=True, help="to train on and to test with, such as 50000,10000")
    parser.add_argument("--lanes", required=True, help="to be tried, such as 10,20")
    given = parser.parse_args()
    train, test, *lanes = (int(number) for number in f"{given.images},{given.lanes}".split(","))
    configuration = msgspec.json.decode(given.configuration, type=Configuration)
    shape = msgspec.json.decode(given.shape, type=DataShape)
    clean_stderr()
    clear_environment()
    try:
        card.claim(given.gpu, os.environ, given.host)
    except card.CardRefused as refused:
        raise SystemExit(str(refused)) from None
    out = os.dup(1)
    os.dup2(2, 1)  # what native libraries print is no answer
    prepare_jax()
    from engine.training.jax_trainer import FastTrainer

    measured = rates(FastTrainer(), configuration, noise(shape, train, test), lanes)
    os.write(out, json.dumps(measured).encode())
    os._exit(0)  # what is left of the libraries may wait for the card for ever


if __name__ == "__main__":
    raise SystemExit(main())
