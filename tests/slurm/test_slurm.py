"""Training through a real Slurm, one node with two fake GPUs: the same results, whatever happens to the cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import protocol as p
from svhn_tui import presets
from svhn_tui.progress import Overrides, sweep_for
from svhn_tui.state import State
from tests.bridge import Bridge
from tests.slurm import cluster as slurm
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.skipif(bool(slurm.lacking()), reason=slurm.lacking() or "-")
BOOK = presets.load(presets.find(Path("no workspace")))
ONE_GPU = "--gres=gpu:1"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm.started(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.mark.slow
def test_the_whole_of_q9_trains_on_two_gpus_at_once(cluster: Cluster, demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path, **cluster.environment) as bridge:
        bridge.send(p.SetFleet(fleet=p.Fleet(slurm=ONE_GPU, workers=2)))
        data = bridge.open(demo_folder)
        sweep = sweep_for(BOOK.question("Q9"), BOOK, State(data=data), Overrides(epochs=2))
        bridge.send(p.Submit(sweep=sweep))
        bridge.until(lambda state, event: len(state.results) == 30)
        bridge.end()
    heard = [event for event in bridge.events if isinstance(event, p.WorkerChanged)]
    for event in heard:
        print(event)
