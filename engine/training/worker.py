"""A worker: trains the groups that the host sends to its stdin, and writes the events to its stdout.

It owns the folders of the runs it trains. Every run ends with an outcome: a result, a failure with its reason, or a
checkpoint. It stops in order when its stdin ends (the host is gone) and on SIGTERM.
"""

import argparse
import importlib
import os
import platform
import signal
import threading
from collections.abc import Sequence

import msgspec

from engine import protocol as p
from engine.machine import card, card_choice, card_signs, devices, system
from engine.machine.backends import (
    PLATFORM_VARIABLE,
    WITHOUT_GPU,
    clear_environment,
    prepare_jax,
    prepare_tensorflow,
)
from engine.machine.clean_log import clean_stderr
from engine.machine.probe import ProbeResult
from engine.protocol.pipes import MessageWriter, open_stdin
from engine.training import preflight
from engine.training.inbox import TERMINATED, Inbox
from engine.training.preflight import Preflight

TRAINERS = {
    "fast": (prepare_jax, "engine.training.auto_trainer:AutoTrainer"),
    "keras-fit": (prepare_tensorflow, "engine.training.keras_trainer:KerasFitTrainer"),
}
"""By kind of worker: what prepares the import of its libraries, and its trainer as `module:class`."""
NO_CARDS = ("", "-1", card_choice.SLURMS_NONE)
"""Values of CUDA_VISIBLE_DEVICES with which Slurm gives a job no GPU."""


def serve(
    name: str,
    load_trainer: str,
    seen: ProbeResult | None = None,
    remarks: Sequence[str] = (),
    *,
    is_hosts: bool = False,
) -> int:
    """Claim the pipes, load the trainer `module:class`, and train until the pipe ends.

    Args:
        name: the worker's, as the host knows it.
        load_trainer: `module:class`, imported after stdout was claimed: native libraries print.
        seen: the probed GPU to train on; None: the CPU.
        remarks: sentences for the user.
        is_hosts: the GPU is one of the host's machine: where TensorFlow does not see it, this worker ends, and the
            host starts one on the cores instead.
    """
    publish = MessageWriter(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    here = p.WorkerChanged(
        worker=name, state="starting", pid=os.getpid(), node=platform.node().partition(".")[0],
        gpu=os.environ.get("CUDA_VISIBLE_DEVICES", ""), job=os.environ.get("SLURM_JOB_ID", ""),
        uuid=seen.uuid if seen else "", pci=seen.pci if seen else "",
    )  # fmt: skip
    publish(here)
    inbox = Inbox()
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=inbox.end, args=(TERMINATED,)).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the command line's to answer
    threading.Thread(target=inbox.read, args=(open_stdin(),), daemon=True).start()
    from engine.training.training_loop import Attempts

    module, _, kind = load_trainer.partition(":")
    try:
        trainer = getattr(importlib.import_module(module), kind)()
        if is_hosts and seen is not None and trainer.device == "cpu":
            raise card.CardRefused(card.UNSEEN, WITHOUT_GPU)
        for remark in (*remarks, *remarks_on(seen, trainer.device)):
            publish(p.Noticed(text=remark, severity="warning"))
        publish(msgspec.structs.replace(here, state="ready", device=trainer.device))
        with Attempts(name, trainer, publish, inbox.stop_of) as attempts:
            while task := inbox.next():
                attempts.train(task)
                inbox.forget([spec.run_id for spec in task.specs])
    except card.CardRefused as refused:
        publish(msgspec.structs.replace(here, state="ended", text=str(refused)))
        os._exit(refused.status)  # threads of the libraries may wait for the card for ever
    publish(msgspec.structs.replace(here, state="ended"))
    return 0


def refuse(name: str, refused: card.CardRefused) -> int:
    """Report why this worker cannot train; return its exit code."""
    MessageWriter(os.fdopen(os.dup(1), "wb"))(p.WorkerChanged(worker=name, state="ended", text=str(refused)))
    return refused.status


def remarks_on(seen: ProbeResult | None, device: str) -> tuple[str, ...]:
    """Return sentences for the user on the GPU that this worker was given."""
    if seen is None:
        return ()
    return (*seen.remarks, WITHOUT_GPU) if device == "cpu" else seen.remarks


def claim_cores(cores: str) -> None:
    """Restrict this process to these CPU cores, such as `0,1`; call it before a native library counts them."""
    system.claim_cores(tuple(map(int, cores.split(","))) if cores else ())


def arguments(program: str) -> argparse.Namespace:
    """Read the command line that every kind of worker is started with."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("--name", default="w0")
    parser.add_argument("--trainer", choices=list(TRAINERS), default="fast")
    parser.add_argument("--cores", default="", help="CPU cores to use, such as 0,1")
    parser.add_argument("--gpu", default="", help="UUID of the GPU to train on, or none")
    parser.add_argument("--host", default="", help="id of the host: its workers may share a GPU")
    parser.add_argument("--preflight", default="", help="checks on another machine than the host's, as JSON")
    return parser.parse_args()


def claim_device(given: argparse.Namespace, trainer: str) -> tuple[ProbeResult | None, tuple[str, ...]]:
    """Restrict this worker to the cores and the GPU that it was given.

    Returns:
        The probe's result for that GPU, and sentences on why a GPU of another machine is not used.

    Raises:
        CardRefused: the GPU cannot be used.
        SystemExit: another machine is not fit to train for this host; the message is one sentence.
    """
    if not given.preflight:
        claim_cores(given.cores)
        return card.claim(given.gpu or card.NONE, os.environ, given.host), ()
    wanted = msgspec.json.decode(given.preflight, type=Preflight)
    if problem := preflight.problem(wanted, preflight.versions(trainer)):
        raise SystemExit(problem)
    if os.environ.get(PLATFORM_VARIABLE) == "cpu":
        return None, ()
    if wanted.is_slurms:
        has_gpu = wanted.asks_for_gpu or os.environ.get("CUDA_VISIBLE_DEVICES", "") not in NO_CARDS
        is_left_out = not has_gpu and card_signs.is_there()
        remark = f"{given.name}: {card_choice.NO_GPU_OF_SLURM} It trains on the CPU there."
        return card.claim(card.GIVEN if has_gpu else card.NONE, os.environ), (remark,) if is_left_out else ()
    choice = devices.choose_gpus()
    free = card.free(choice.gpus)
    cores, gpu = preflight.portion(system.usable_cores(), len(free), wanted.index, wanted.count)
    system.claim_cores(tuple(cores))
    if not free:
        remarks = (f"{given.name}: {problem} It trains on the CPU there." for problem in choice.problems)
        return card.claim(card.NONE, os.environ), tuple(remarks)
    return card.claim(free[gpu or 0].uuid, os.environ), ()  # one alone has the first


if __name__ == "__main__":
    given = arguments("python -m engine.training.worker")
    clean_stderr()
    os.umask(0o077)  # a shared machine: what is trained here is the user's alone
    clear_environment()
    try:
        seen, remarks = claim_device(given, given.trainer)
    except card.CardRefused as refused:
        raise SystemExit(refuse(given.name, refused)) from None
    prepare, trainer = TRAINERS[given.trainer]
    prepare()
    raise SystemExit(serve(given.name, trainer, seen, remarks, is_hosts=not given.preflight))
