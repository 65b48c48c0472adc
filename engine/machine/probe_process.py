"""The process that tries one GPU with the driver and with JAX.

    python -m engine.machine.probe_process            what they report of the first GPU, as JSON on stdout
    python -m engine.machine.probe_process --cards    UUIDs of all cards as CUDA numbers them

CUDA_VISIBLE_DEVICES decides which GPU is the first.
"""

import ctypes
import os
import sys
from collections.abc import Iterator

import msgspec

from engine.machine import probe
from engine.machine.probe import CudaCards, ProbeResult

MIG = " MIG "
"""In the name of a slice, such as `NVIDIA A100-SXM4-40GB MIG 1g.5gb`."""


def see() -> ProbeResult:
    """Try the first GPU that this process may use with the driver, then with JAX."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ProbeResult(reason=probe.NO_LIBRARY)
    listed = _listed(driver)
    if not listed.uuids:
        return ProbeResult(reason=listed.reason, cuda=listed.cuda)
    uuids = listed.uuids
    seen = _seen_by_jax(ProbeResult(uuid=uuids[0], pci=_pci(driver), cuda=listed.cuda, count=len(uuids)))
    if seen.is_usable or probe.plugins():
        return seen
    return msgspec.structs.replace(seen, reason=probe.NO_PLUGIN)


def _seen_by_jax(sight: ProbeResult) -> ProbeResult:
    os.environ["JAX_PLATFORMS"] = "cuda"  # with `cuda,cpu` it would fall back
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import jax
        import jax.numpy as jnp

        device = jax.devices()[0]
        with jax.default_matmul_precision("float32"):
            (jnp.ones((64, 64)) @ jnp.ones((64, 64))).block_until_ready()
        stats = device.memory_stats() or {}
    except Exception as error:  # noqa: BLE001 - whatever JAX raises is the answer
        return msgspec.structs.replace(sight, reason=probe.jax_reason(str(error) or type(error).__name__))
    return msgspec.structs.replace(
        sight, platform=device.platform, kind=device.device_kind, memory=stats.get("bytes_limit"),
        reason="" if device.platform == "gpu" else f"JAX computes on {device.platform} instead of the GPU.",
    )  # fmt: skip


def _listed(driver: ctypes.CDLL) -> CudaCards:
    """Start the driver and list its cards."""
    if code := driver.cuInit(0):
        return CudaCards(cuda=_version(driver), reason=probe.cuda_reason(code))
    named = tuple(_cards_of(driver))
    uuids, names = tuple(uuid for uuid, _ in named), tuple(name for _, name in named)
    return CudaCards(uuids, _version(driver), "" if uuids else probe.CUDA_ERRORS[100], names)


def _version(driver: ctypes.CDLL) -> int | None:
    version = ctypes.c_int()
    return None if driver.cuDriverGetVersion(ctypes.byref(version)) else version.value


def _cards_of(driver: ctypes.CDLL) -> Iterator[tuple[str, str]]:
    """Yield the UUID and the name of each card."""
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)):
        return
    for device in range(count.value):
        raw, text = (ctypes.c_ubyte * 16)(), ctypes.create_string_buffer(256)
        get = getattr(driver, "cuDeviceGetUuid_v2", None) or driver.cuDeviceGetUuid
        if not get(ctypes.byref(raw), ctypes.c_int(device)):
            driver.cuDeviceGetName(text, len(text), ctypes.c_int(device))
            name = text.value.decode(errors="replace")
            yield uuid_text(bytes(raw), name), name


def uuid_text(raw: bytes, name: str) -> str:
    """Write 16 bytes as nvidia-smi does, and as CUDA_VISIBLE_DEVICES takes it.

    Args:
        raw: of a MIG slice the driver returns the slice's own UUID.
        name: of the card, which says that it is a slice.
    """
    text, kind = raw.hex(), "MIG" if MIG in name else "GPU"
    return f"{kind}-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _pci(driver: ctypes.CDLL) -> str:
    text = ctypes.create_string_buffer(64)
    return "" if driver.cuDeviceGetPCIBusId(text, 64, ctypes.c_int(0)) else text.value.decode()


def main() -> None:
    """Print the result; stdout is claimed before a native library prints on it."""
    out = os.dup(1)
    os.dup2(2, 1)
    if "--cards" in sys.argv[1:]:
        os.write(out, msgspec.json.encode(_cards()))
    else:
        os.write(out, msgspec.json.encode(see()))
    os._exit(0)  # nothing is to hold the card while Python tidies up


def _cards() -> CudaCards:
    try:
        return _listed(ctypes.CDLL("libcuda.so.1"))
    except OSError:
        return CudaCards(reason=probe.NO_LIBRARY)


if __name__ == "__main__":
    main()
