"""The benchmark's times as bars: in the terminal, and in a PNG file."""

import math
from pathlib import Path
from typing import Any

from rich.table import Table

from svhn_tui.export.default_matplotlib import default_matplotlib

SIDES = {"fit": "fit", "tuned_fit": "tuned fit", "jax": "JAX", "engine": "engine"}
"""The contenders, by the name of their figures, with their titles."""
BAR_CELLS = 40


def bars(measured: dict[str, Any]) -> Table:
    """Return a bar for each side of each network; the scale is logarithmic."""
    table = Table(box=None, pad_edge=False, show_header=False)
    times = [network[f"{side}_us_per_batch"] for network in measured["networks"] for side in SIDES]
    least, most = math.log(min(times) / 2), math.log(max(times))
    for network in measured["networks"]:
        for side, name in _sides(network).items():
            time = network[f"{side}_us_per_batch"]
            cells = max(1, round(BAR_CELLS * (math.log(time) - least) / max(most - least, 1e-9)))
            table.add_row(_name(network) if side == "fit" else "", name, "█" * cells + f" {time:,.0f} µs")
    return table


def draw(measured: dict[str, Any], path: Path) -> None:
    """Draw the medians with their ranges, and the machine's limit, into a PNG file.

    Raises:
        OSError: it cannot be written.
    """
    with default_matplotlib():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        networks = measured["networks"]
        figure = Figure(figsize=(max(7, 1.5 + 1.6 * len(networks)), 4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for index, (side, name) in enumerate(_sides(networks[0]).items()):
            middles = [network[f"{side}_us_per_batch"] for network in networks]
            ranges = [network["tuned_range" if side == "tuned_fit" else f"{side}_range"] for network in networks]
            errors = [
                [middle - ends[0] for middle, ends in zip(middles, ranges, strict=True)],
                [ends[1] - middle for middle, ends in zip(middles, ranges, strict=True)],
            ]
            lefts = [left + 0.2 * (index - 1.5) for left in range(len(networks))]
            axes.bar(lefts, middles, 0.18, yerr=errors, label=name, capsize=2)
        shares = [of_limit(network) for network in networks]
        if None not in shares:
            least = [share * network["engine_us_per_batch"] for share, network in zip(shares, networks, strict=True)]
            lefts, rights = [index - 0.45 for index in range(len(least))], [index + 0.45 for index in range(len(least))]
            axes.hlines(least, lefts, rights, colors="black", linestyles="dotted", label="limit of this machine")
        axes.set_yscale("log")
        axes.set_ylabel("microseconds a batch of 32, of the whole machine")
        axes.set_xticks(range(len(networks)), [_name(network) for network in networks])
        figure.legend(loc="outside upper center", ncols=5)
        figure.savefig(path, format="png", dpi=150)


def of_limit(network: dict[str, Any]) -> float | None:
    """Return the share of the machine's limit, of its cores or its memory, whichever is used more."""
    shares = [network["share_of_multiply_adds"], network["share_of_bandwidth"]]
    return None if None in shares else max(shares)


def _sides(network: dict[str, Any]) -> dict[str, str]:
    """Return the contenders; the engine is a further one only if it is not JAX."""
    return {
        side: network["trainer"] if side == "engine" else name
        for side, name in SIDES.items()
        if side != "engine" or network["trainer"] != "jax"
    }


def _name(network: dict[str, Any]) -> str:
    return ", ".join(map(str, network["hidden"])) or "linear"
