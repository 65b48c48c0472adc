"""One cluster for all tests of a session; each test finds it empty and leaves it so."""

import time
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, lacking
from tests.support.patience import PATIENCE


@pytest.fixture(scope="session")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := lacking():
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture
def cluster(daemons: Cluster) -> Iterator[Cluster]:
    """The cluster for one test, which must give back every allocation: the next one needs both GPUs."""
    yield daemons
    deadline = time.monotonic() + PATIENCE
    while left := daemons.ask("squeue", "-h", "-o", "%i %j %T %r").strip():
        if time.monotonic() > deadline:
            daemons.ask("scancel", *(line.split()[0] for line in left.splitlines()))
            pytest.fail(f"jobs are left in the cluster: {left}")
        time.sleep(0.2)  # slurmctld reports no end by itself
