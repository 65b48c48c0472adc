"""The same group in processes of their own: bits without and with a compile cache, and what each XLA flag costs."""

import os
import sys
import time
from typing import Any, NamedTuple

from engine.machine.xla_flags import DETERMINISTIC_FLAG, LOOP_FLAG
from tests.gpu.children import result_of, start_child
from tests.gpu.common import drawn, group_of, specs_of, state_hash
from tests.gpu.kit import Kit, Results


class Variant(NamedTuple):
    """One process: XLA's flags, whether its compiled programs are kept, and what of the program is otherwise."""

    name: str
    flags: str
    is_cached: bool = False
    changes: Results = {}


SMALL_NETWORK: Results = {"hidden": (64,)}


def plan(flags: str, *, on_gpu: bool) -> tuple[Variant, ...]:
    """Return the variants, what matters most first: the time may be over before the end.

    Args:
        flags: those that the program sets on this machine.
        on_gpu: flags of GPUs mean something here.
    """
    steps, deterministic = flags.replace(LOOP_FLAG, "").strip(), f"{flags} {DETERMINISTIC_FLAG}"
    twice = Variant("no cache, 1", flags), Variant("no cache, 2", flags)
    cached = Variant("cache cold", flags, True), Variant("cache warm", flags, True)
    plain = Variant("plain dense", flags, changes={"change": {"plain": 1}})
    stacked = Variant("stacked logits", steps, changes={"change": {"stacked": 1}})
    if not on_gpu:
        return (*twice, *cached, plain, stacked)
    return (
        *twice,
        Variant("deterministic", deterministic),
        Variant("steps one by one", steps),
        Variant("64 units", flags, changes=SMALL_NETWORK),
        Variant("64 units, deterministic", deterministic, changes=SMALL_NETWORK),
        Variant("64 units, steps one by one", steps, changes=SMALL_NETWORK),
        *cached,
        Variant("deterministic, 2", deterministic),
        Variant("exclude_nondeterministic_ops", f"{flags} --xla_gpu_exclude_nondeterministic_ops=true"),
        plain,
        stacked,
        Variant("64 units, 8 steps unrolled", flags, changes={**SMALL_NETWORK, "change": {"unroll": 8}}),
        Variant("no command buffers", f"{steps} --xla_gpu_enable_command_buffer="),
        Variant("no triton gemm", f"{flags} --xla_gpu_enable_triton_gemm=false"),
        Variant("no autotuning", f"{flags} --xla_gpu_autotune_level=0"),
    )


def processes(kit: Kit, held: Results) -> None:
    """Train the group once in each variant, and say what is to be decided."""
    base = {"train": kit.parity[0], "test": kit.parity[1], "hidden": () if kit.small else (256,), "lanes": kit.lanes,
            "epochs": 4, "precision": kit.precision}  # fmt: skip
    on_gpu = kit.sections.get("machine", {}).get("platform") == "gpu"
    for variant in plan(os.environ.get("XLA_FLAGS", ""), on_gpu=on_gpu):
        if kit.left() < 25 and not kit.small:
            held.setdefault("not_run", []).append(variant.name)
            continue
        began = time.monotonic()
        cache = str(kit.work / "jaxcache") if variant.is_cached else ""
        child = start_child("once", {**base, **variant.changes}, {"XLA_FLAGS": variant.flags.strip()}, cache)
        outcome = result_of(child, min(90, kit.left()))
        outcome["process_s"] = round(time.monotonic() - began, 1)
        held[variant.name] = outcome
        text = f"{outcome.get('us_per_batch')} us, {outcome.get('hash', outcome.get('error'))}"
        print(f"    {variant.name}: {text}", file=sys.stderr, flush=True)
        kit.write()
    held["verdict"] = verdict(held)


def verdict(sections: Results) -> Results:
    """Say what is to be decided: deterministic kernels are on where they cost less than 5 %, loops where they gain."""

    def cost(name: str, than: str) -> float | None:
        one, other = (sections.get(key, {}).get("us_per_batch") for key in (name, than))
        return round(100 * (one / other - 1), 1) if one and other else None

    def equal(field: str, *names: str) -> bool | None:
        values = [sections.get(name, {}).get(field) for name in names]
        return len(set(values)) == 1 if all(values) else None

    costs = [cost("deterministic", "no cache, 1"), cost("64 units, deterministic", "64 units")]
    return {
        "deterministic_costs_percent": costs,
        "deterministic_equal": equal("hash", "deterministic", "deterministic, 2"),
        "deterministic_to_be_on": all(some < 5 for some in costs if some is not None) if None not in costs else None,
        "cached_equal": equal("hash", "cache cold", "cache warm"),
        "cached_digest_equal": equal("digest", "cache cold", "cache warm"),
        "steps_one_by_one_cost_percent": [
            cost("steps one by one", "no cache, 1"),
            cost("64 units, steps one by one", "64 units"),
        ],
    }


def once(given: Results) -> Results:
    """In a child: train one group from its start; hash and digest, seconds to compile, microseconds a batch."""
    import jax

    _change_program(given.get("change", {}))
    images = drawn(given["train"], given["test"])
    began = time.perf_counter()
    group = group_of(specs_of(given["hidden"], "relu", range(given["lanes"])), images, given["precision"])
    compiled = time.perf_counter() - began
    seconds = []
    for _ in range(given["epochs"]):
        began = time.perf_counter()
        group.train_epoch()
        seconds.append(time.perf_counter() - began)
    warm = sorted(seconds[1:]) or seconds
    return {
        "hash": state_hash(group, 0),
        "digest": group._program.digest,
        "group_s": round(compiled, 2),
        "device": str(jax.devices()[0]),
        "us_per_batch": round(1e6 * warm[len(warm) // 2] / -(-given["train"] // 32), 1),
    }


def _change_program(change: Results) -> None:
    """Try what might suit a GPU otherwise: stacked logits as on a CPU, Keras's own dense layer, a loop unrolled."""
    import jax

    from engine.training import compiled_epoch

    if "plain" in change:  # no transposed narrow kernels, no barriers
        compiled_epoch.NARROW, compiled_epoch.KINDS = 0, {}
    if "stacked" in change:
        compiled_epoch.Program._train_summing = compiled_epoch.Program._train_stacking
    if "unroll" in change:
        scan: Any = jax.lax.scan
        jax.lax.scan = lambda *given, **named: scan(*given, **{**named, "unroll": change["unroll"]})
