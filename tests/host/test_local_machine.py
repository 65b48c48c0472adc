"""What becomes of the cards of the host's machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import protocol as p
from engine.core.data_shape import ASSIGNMENT
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration, Network, Training
from engine.host.local_machine import LocalMachine
from engine.machine import backends, card, system
from engine.machine.backends import WITHOUT_GPU
from engine.scheduling.placement import slots
from engine.scheduling.slot import Slot
from engine.workers.process import WORKER_VARIABLE, Worker, WorkerEnd
from tests.support.made_up_pool import MadeUpPool, Process
from tests.support.patience import PATIENCE

TWO = Machine((0, 1), 24 * 2**30, gpus=(Card("GPU-a", "gpu0"), Card("GPU-b", "gpu1")))
BLIND = """
from engine.machine.probe import ProbeResult
from engine.training.worker import serve
class Trainer:
    device = "cpu"
import sys
sys.modules["made_up"] = sys.modules["__main__"]
raise SystemExit(serve("keras-fit", "made_up:Trainer", ProbeResult("gpu", "NVIDIA B200", "GPU-a"), is_hosts=IS_HOSTS))
"""


def served(is_hosts: bool) -> tuple[int, list[p.AnyEvent]]:
    """Return how a worker on a card that TensorFlow does not see ended, and its events."""
    code = BLIND.replace("IS_HOSTS", str(is_hosts))
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    return done.returncode, [p.decode_event(line) for line in done.stdout.splitlines()]


def test_a_worker_whose_tensorflow_does_not_see_its_card_gives_it_back():
    status, events = served(is_hosts=True)
    assert (status, events[-1].state, events[-1].text) == (card.UNSEEN, "ended", WITHOUT_GPU)
    status, events = served(is_hosts=False)
    assert status == 0, "what Slurm gave is nobody else's meanwhile"
    assert p.Noticed(text=WITHOUT_GPU, severity="warning") in events


def test_keras_fit_trains_on_the_cores_where_tensorflow_sees_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends, "tensorflow_may_see_cards", lambda: True)
    events: list[p.AnyEvent] = []
    machine = LocalMachine(TWO, lambda event, line: events.append(event), lambda: None)
    plain = Configuration(Network(), Training(trainer="keras-fit"))
    assert {slot.gpu for slot in slots(plain, machine.available((), {}), ASSIGNMENT)} == {"GPU-a", "GPU-b"}

    class Process:
        pid, stdin = os.getpid(), None

    worker = Worker(Slot("keras-fit", (0, 1), "GPU-a", "keras-fit"), Process(), tmp_path / "log")
    worker.refusal = WITHOUT_GPU
    for _ in range(2):
        machine.judge("GPU-a", worker, WorkerEnd("", status=card.UNSEEN))
    here = machine.available((), {})
    assert slots(plain, here, ASSIGNMENT) == (Slot("keras-fit", (0, 1), trainer="keras-fit"),)
    assert len(here.gpus) == 2, "they train for JAX"
    assert [event.text for event in events] == [f"{WITHOUT_GPU} Cards stay free for JAX."]


PLAIN = Configuration(Network(), Training(trainer="keras-fit"))


def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sees: bool) -> MadeUpPool:
    """A box of two cards with a group on each, others that wait, and TensorFlow's runs behind them."""
    monkeypatch.setattr(backends, "tensorflow_may_see_cards", lambda: sees)
    box = MadeUpPool(tmp_path, TWO)
    for units in (8, 16, 24, 32):
        box.want(Configuration(Network((units,), "relu")), range(1))
    box.want(PLAIN, range(3))
    box.ready()
    return box


async def test_where_tensorflow_sees_no_card_its_runs_and_jaxs_wait_for_each_other_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    box = mixed(tmp_path, monkeypatch, sees=False)
    assert box.training == {"gpu0": 1, "gpu1": 1, "keras-fit": 1}
    assert box.worker("keras-fit").slot.gpu is None
    text = f"{WITHOUT_GPU} Cards stay free for JAX."
    assert [event.text for event in box.events if isinstance(event, p.Noticed)] == [text]
    box.queue.move([run.run_id for run in box.queue.waiting if run.spec.configuration == PLAIN], 0)
    box.finish("gpu0", 1.0)
    assert box.training == {"gpu0": 1, "gpu1": 1, "keras-fit": 1}, "one behind TensorFlow's runs has the card"
    box.finish("keras-fit", 1.0)
    assert box.training == {"gpu0": 1, "gpu1": 1, "keras-fit": 1}
    assert [event.text for event in box.events if isinstance(event, p.Noticed)] == [text], "said once"
    await box.dispatch.leave()


async def test_tensorflow_trains_on_the_cores_while_others_have_all_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backends, "tensorflow_may_see_cards", lambda: False)
    box = MadeUpPool(tmp_path, TWO)
    for gpu in TWO.gpus:
        box.dispatch.machine._cards.busy(gpu.uuid, "busy", time.monotonic())
    box.want(Configuration(), range(1))
    box.want(PLAIN, range(1))
    box.ready()
    assert box.training == {"keras-fit": 1}
    await box.dispatch.leave()


async def test_tensorflows_runs_have_their_turn_on_cards_and_leave_the_others_to_jax(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    box = mixed(tmp_path, monkeypatch, sees=True)
    assert box.training == {"gpu0": 1, "gpu1": 1}
    box.queue.move([run.run_id for run in box.queue.waiting if run.spec.configuration == PLAIN], 0)
    box.finish("gpu0", 1.0)
    assert box.training == {"gpu1": 1}, "its card is for TensorFlow, once JAX's worker has ended"
    box.end("gpu0")
    box.ready()
    assert box.training == {"gpu1": 1, "keras-fit": 1}
    box.finish("gpu1", 1.0)
    assert box.training == {"gpu1": 1, "keras-fit": 1}, "TensorFlow's train one at a time, so JAX has the other card"
    box.finish("keras-fit", 1.0)
    assert box.training == {"gpu1": 1, "keras-fit": 1}, "the card that it had is its own again"
    await box.dispatch.leave()


async def test_a_machine_without_cards_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends, "tensorflow_may_see_cards", lambda: False)
    monkeypatch.setenv(WORKER_VARIABLE, "a stand-in, for which nothing is measured")
    box = MadeUpPool(tmp_path, TWO._replace(gpus=()))
    box.want(PLAIN, range(2))
    box.want(Configuration(), range(2))
    box.ready()
    assert box.training == {"keras-fit": 1}
    assert not [event for event in box.events if isinstance(event, p.Noticed)]
    await box.dispatch.leave()


def test_tensorflow_needs_a_library_of_cuda_12(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(system, "has_library", lambda name: False)
    assert not backends.tensorflow_may_see_cards()
    library = tmp_path / "nvidia/cuda_runtime/lib/libcudart.so.12"
    library.parent.mkdir(parents=True)
    library.touch()
    assert backends.tensorflow_may_see_cards()
    library.unlink()
    monkeypatch.setattr(system, "has_library", lambda name: name == "libcudart.so.12")
    assert backends.tensorflow_may_see_cards()


@pytest.mark.parametrize("was_ready", [True, False])
async def test_a_worker_that_another_of_ours_kept_from_its_card_is_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_ready: bool
):
    """The other one may have ended by the time that the refusal is heard."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    box = MadeUpPool(tmp_path, TWO._replace(gpus=(Card("GPU-a", "gpu0", memory=16 * 2**30, seats=2),)))
    pool = box.dispatch.pool
    for units in (8, 16):
        box.want(Configuration(Network((units,), "relu")), range(1))
    if was_ready:
        box.ready()
    first, second = box.worker("gpu0"), Worker(Slot("gpu0#2", gpu="GPU-a"), Process(), tmp_path / "log")
    pool._workers[second.slot] = second
    del pool._workers[first.slot]
    pool._unoccupied.pop(first, None)
    if first.changed.device:
        pool._note_company("GPU-a")
    second.refusal = "others compute on it."
    del pool._workers[second.slot]
    box.dispatch._worker_ended(second, WorkerEnd("", status=card.BUSY))
    assert bool([event for event in box.events if isinstance(event, p.Noticed)]) != was_ready
    await box.dispatch.leave()
