"""A real worker on a made-up GPU: how its card is, JSON by UUID, decides what becomes of it; it trains nothing.

`fine`; `jax`: JAX trains, on the CPU; `held`: no epoch ends before the file FREE is there; `busy`: others compute on
it, as long as FREE is not there; `filled`: others take its memory once this worker is on it, as long as FREE is not
there; `broken`: the driver refuses; `sick`: an error of the card's while it trains; `aborted`: one at which XLA ends
the process; `single`: it takes no second process; `cpu`: the probe sees it and JAX, which is loaded for it, does not.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from engine.machine import card, card_lock, gpus, nvml_process, probe
from engine.machine.probe import ProbeResult
from engine.training.worker import arguments, refuse, serve
from tests.support.fake_nvml import pynvml

sys.modules["pynvml"] = pynvml
gpus.NvmlProcess = nvml_process.Nvml


def how(uuid: str) -> str:
    return str(json.loads(os.environ["SVHN_TUI_TEST_CARDS"]).get(uuid, "fine"))


def is_free() -> bool:
    return Path(os.environ["SVHN_TUI_TEST_FREE"]).exists()


def look(environment: Mapping[str, str]) -> ProbeResult:
    """What the probe would see."""
    uuid = environment["CUDA_VISIBLE_DEVICES"]
    match how(uuid):
        case "busy" if not is_free():
            return ProbeResult(reason=probe.CUDA_ERRORS[2])
        case "single" if card_lock.is_joined(uuid, arguments("gpu worker").host):
            return ProbeResult(reason=probe.CUDA_ERRORS[46])
        case "broken":
            return ProbeResult(reason=probe.CUDA_ERRORS[803])
        case _:
            return ProbeResult("gpu", "NVIDIA Made-up", uuid, "0000:1B:00.0")


def main() -> int:
    given = arguments("gpu worker")
    probe.look = look
    try:
        seen = card.claim(given.gpu, os.environ, given.host)
    except card.CardRefused as refused:
        return refuse(given.name, refused)
    from engine.machine.backends import prepare_jax

    if how(given.gpu) != "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = ""
    prepare_jax()
    return serve(given.name, "tests.support.gpu_worker:MadeUpTrainer", seen)


if __name__ == "__main__":
    raise SystemExit(main())

if __name__ == "tests.support.gpu_worker":
    if how(os.environ["CUDA_VISIBLE_DEVICES"]) in ("jax", "cpu"):
        from engine.training.jax_trainer import FastTrainer as Trainer
    else:
        from tests.support.idle_trainer import IdleTrainer as Trainer

    class MadeUpTrainer(Trainer):
        @property
        def device(self) -> str:
            return "gpu0 NVIDIA Made-up" if os.environ["CUDA_VISIBLE_DEVICES"] else "cpu"

        def is_held(self):
            return how(os.environ["CUDA_VISIBLE_DEVICES"]) == "held" and not is_free()

        def group(self, specs, images, snapshots):
            uuid = os.environ["CUDA_VISIBLE_DEVICES"]
            match how(uuid):
                case "sick":
                    raise RuntimeError("INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered")
                case "aborted":
                    os.write(2, b"F1126 stream.cc:1] Check failed: CUDA_ERROR_ILLEGAL_ADDRESS: cannot synchronize\n")
                    os.abort()
                case "filled" if not is_free():
                    os.environ["FAKE_NVML"] = json.dumps({"cards": [{"uuid": uuid, "free": 0.1, "pids": [1]}]})
                    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.")
                case _:
                    pass
            return super().group(specs, images, snapshots)
