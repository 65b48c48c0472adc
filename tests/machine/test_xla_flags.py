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


def test_the_users_flags_count_where_both_set_the_same():
    own = (LOOP_FLAG, "--xla_gpu_autotune_level=0")
    assert xla_flags.combined("", own).value == " ".join(own)
    users = "--xla_gpu_enable_command_buffer= --xla_dump_to=/x"
    assert xla_flags.combined(users, own).value == f"--xla_gpu_autotune_level=0 {users}"


def test_flags_that_this_xla_does_not_know_are_dropped_and_told():
    said = "F1126 parse_flags_from_env.cc:234] Unknown flags in XLA_FLAGS: --xla_bogus=1 --xla_old\n"
    refused = xla_flags.unknown_flags(said)
    assert refused == ("--xla_bogus=1", "--xla_old")
    found = xla_flags.combined("--xla_bogus=1 --xla_dump_to=/x --xla_old", (LOOP_FLAG,), refused)
    assert found == (f"{LOOP_FLAG} --xla_dump_to=/x", ("--xla_bogus=1", "--xla_old"))
    assert xla_flags.unknown_flags("Traceback (most recent call last)") == ()


def test_a_file_of_flags_is_left_as_it_is_unless_refused():
    assert xla_flags.combined("/etc/xla.flags", (LOOP_FLAG,)) == ("/etc/xla.flags", ())
    assert xla_flags.combined("/etc/xla.flags", (), ("--xla_bogus",)) == ("", ("/etc/xla.flags",))


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
