"""What the compiler for an H100 makes of the epoch, where JAX's CUDA plugin was installed by `make gpu-compile`."""

import pytest

from tests.gpu import compiled
from tests.gpu.compiled import Asked


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [(64,), (1024, 256)])
def test_an_epoch_is_one_graph_of_float32_products(hidden: tuple[int, ...]):
    if not (compiled.folder() / "complete").exists():
        pytest.skip("JAX's CUDA plugin (1 GB) is not here; `make gpu-compile` installs it")
    outcome = compiled.ask(Asked(hidden))
    assert outcome.is_one_graph
    assert (outcome.products > 0, outcome.tf32_products) == (True, 0)
    assert outcome.launches[0] <= 30
    assert outcome.arguments + outcome.temporary < 0.8e9, "ten lanes, the data included"


def test_the_loop_is_found_inside_or_outside_a_graph():
    assert compiled.is_one_graph("001: kCommandBuffer\n  000: kWhile\n")
    assert not compiled.is_one_graph("001: kWhile\n  000: kGemm\n")
    body = "%body (p: s32[]) -> s32[] {\n  %a = f32[] fusion(%p)\n  ROOT %b = f32[] tuple(%a)\n}\n"
    text = f"{body} x = while(%p), body=%body\n"
    assert compiled.launches_in_loops(text) == (1,)
