"""What becomes of the cards of the host's machine."""

import os
import subprocess
import sys
from pathlib import Path

from engine import protocol as p
from engine.core.data_shape import ASSIGNMENT
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration, Network, Training
from engine.host.local_machine import LocalMachine
from engine.machine import card
from engine.scheduling.placement import slots
from engine.scheduling.slot import Slot
from engine.training.worker import WITHOUT_GPU
from engine.workers.process import Death, Worker
from tests.support.patience import PATIENCE

TWO = Machine((0, 1), 24 * 2**30, gpus=(Card("GPU-a", "gpu0"), Card("GPU-b", "gpu1")))
BLIND = """
from engine.machine.probe import Sight
from engine.training.worker import serve
class Trainer:
    device = "cpu"
import sys
sys.modules["made_up"] = sys.modules["__main__"]
raise SystemExit(serve("keras-fit", "made_up:Trainer", Sight("gpu", "NVIDIA B200", "GPU-a"), is_hosts=IS_HOSTS))
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


def test_keras_fit_trains_on_the_cores_where_tensorflow_sees_no_card(tmp_path: Path):
    told: list[p.AnyEvent] = []
    machine = LocalMachine(TWO, lambda event, line: told.append(event), lambda: None)
    plain = Configuration(Network(), Training(trainer="keras-fit"))
    assert {slot.gpu for slot in slots(plain, machine.available((), {}), ASSIGNMENT)} == {"GPU-a", "GPU-b"}

    class Process:
        pid, stdin = os.getpid(), None

    worker = Worker(Slot("keras-fit", (0, 1), "GPU-a", "keras-fit"), Process(), tmp_path / "log")
    worker.refusal = WITHOUT_GPU
    for _ in range(2):
        machine.judge("GPU-a", worker, Death("", status=card.UNSEEN))
    here = machine.available((), {})
    assert slots(plain, here, ASSIGNMENT) == (Slot("keras-fit", (0, 1), trainer="keras-fit"),)
    assert len(here.gpus) == 2, "they train for JAX"
    assert [event.text for event in told] == [f"{WITHOUT_GPU} Cards stay free for JAX."]
