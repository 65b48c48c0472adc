"""Flags for JAX's compiler and the libraries it finds: what an image set is mended, and nothing else."""

import pytest

from engine.machine import xla_flags
from engine.machine.xla_flags import LOOP_FLAG

FOLDERS = {
    "/cuda": ["libcudart.so.11.0", "libcublas.so.11"],
    "/driver": ["libcuda.so.1"],
    "/colab": ["libcuda.so.1", "libcudart.so.12"],
    "/mpi": ["libmpi.so"],
    "/cudnn": ["libcudnn.so.8"],
    "/gone": [],
}


@pytest.mark.parametrize(
    ("cuda", "has_loop"), [(12000, False), (12020, False), (12040, False), (12080, True), (13000, True), (None, False)]
)
def test_loops_become_graphs_with_drivers_that_can(cuda: int | None, has_loop: bool):
    assert xla_flags.loop_flags(cuda) == ((LOOP_FLAG,) if has_loop else ())


def test_flags_that_this_xla_does_not_know_are_left_out():
    message = "F1126 parse_flags_from_env.cc:234] Unknown flags in XLA_FLAGS: --xla_bogus=1 --xla_old\n"
    refused = xla_flags.unknown_flags(message)
    assert refused == ("--xla_bogus=1", "--xla_old")
    assert xla_flags.without(f"--xla_bogus=1 {LOOP_FLAG} --xla_old", refused) == LOOP_FLAG
    assert xla_flags.unknown_flags("Traceback (most recent call last)") == ()


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("", ""),
        ("/mpi", "/mpi"),
        ("/cuda:/mpi", "/mpi"),
        ("/cuda:/driver:/cudnn", "/driver"),
        ("/colab", "/colab"),
        ("/gone::/mpi", "/gone:/mpi"),
    ],
)
def test_folders_with_another_cuda_are_left_out_and_the_drivers_stay(path: str, left: str):
    assert xla_flags.without_other_cuda(path, FOLDERS.__getitem__) == left
