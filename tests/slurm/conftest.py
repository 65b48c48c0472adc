"""One cluster for all tests of a session."""

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, lacking


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := lacking():
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started
