"""`svhn-tui bench`: runs the engine's benchmark in a process of its own and makes the tables."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine import protocol as p
from engine.core.forecast import START_SECONDS, Forecast
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep, asked
from engine.machine import child_process, tool_process
from svhn_tui import words
from svhn_tui.cli import bench_figure
from svhn_tui.cli.arguments import (
    WORKSPACE,
    DataOption,
    JsonOption,
    LayoutOption,
    hidden_of,
    load_presets,
    new_file_of,
    sources,
)
from svhn_tui.cli.bench_figure import SIDES
from svhn_tui.cli.commands import carry_out, command_group
from svhn_tui.client.bridge import LinkLost
from svhn_tui.client.session import connected, open_data
from svhn_tui.presets import Presets
from svhn_tui.terminal.printing import Plain, print_error, print_json

app = command_group()


@app.command()
def bench(
    data: DataOption = None,
    layout: LayoutOption = None,
    hidden: Annotated[
        list[str] | None, typer.Option(metavar="UNITS", help="`linear`, `256`, `1024,256`; may be repeated.")
    ] = None,
    train: Annotated[
        int, typer.Option(min=1_000, max=50_000, metavar="N", help="Demo images, without --data.")
    ] = 50_000,
    epochs: Annotated[
        int, typer.Option(min=1, max=1_000, metavar="N", help="Warm epochs a round; there are three rounds.")
    ] = 3,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the times into this PNG file.", parser=new_file_of, metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time the trainers and `model.fit` on the same work, here."""
    chosen = [hidden_of(text) for text in hidden or ["linear", "64", "256", "1024"]]
    book = load_presets(WORKSPACE)
    opening = p.OpenData(
        source=sources(data), layout=layout or "", request="data", demo_train=train, demo_test=max(1_000, train // 5)
    )
    carry_out(measure(book, opening, chosen, epochs, as_json=as_json, plot=plot))


async def measure(
    book: Presets,
    opening: p.OpenData,
    hidden: Sequence[str],
    epochs: int,
    *,
    as_json: bool,
    plot: Path | None = None,
) -> int:
    """Measure and print; draw it into the file `plot`; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        async with connected(workspace) as session:
            await session.ask(opening)
            event = await session.until(lambda state, event: getattr(event, "request", "") == "data")
            if isinstance(event, p.Refused) or session.state.data is None:
                print_error(getattr(event, "reason", "no data"))
                return 1
            data = session.state.data
        options = ["--data", *data.paths, "--epochs", str(epochs)]
        options += ["--layout", data.layout] if data.layout else []
        options += [word for units in hidden for word in ("--hidden", "0" if units == "linear" else units)]
        done = tool_process.run(child_process.tool("engine.tools.bench", *options), shows_stderr=True)
        if done.status:
            return 1
        measured: dict[str, Any] = json.loads(done.stdout)
        measured["first_epoch_seconds"] = {
            "cold": await first_epoch(workspace / "cold", data),
            "warm": await first_epoch(workspace / "cold", data, seed=1, is_warm=True),
        }
    measured["assignment_hours"] = assignment_hours(book, data, measured)
    print_json(measured) if as_json else Plain().print(tables(measured))
    if plot is not None:
        bench_figure.draw(measured, plot)
    return 0


async def first_epoch(workspace: Path, of: p.DataSet, *, seed: int = 0, is_warm: bool = False) -> float:
    """Return the seconds from `Submit` to the first `EpochEnded` of the linear network; `is_warm` trains one before."""
    configuration = Configuration(Network(), Training(epochs=1))
    async with connected(workspace) as session:
        data = await open_data(session, p.OpenData(source=of.paths, layout=of.layout))
        if isinstance(data, str):
            raise LinkLost(data)
        seconds = 0.0
        for each in (seed + 10, seed) if is_warm else (seed,):
            sweep = Sweep("bench", data.fingerprint, (configuration,), (each,))
            began = time.perf_counter()
            await session.ask(p.Submit(sweep=sweep))
            await session.until(lambda state, event: isinstance(event, p.EpochEnded))
            seconds = time.perf_counter() - began
            await session.until(lambda state, event: isinstance(event, p.RunFinished))
        await session.ask(p.Shutdown())
        await session.until(lambda state, event: isinstance(event, p.HostEnded))
    return seconds


def assignment_hours(book: Presets, data: p.DataSet, measured: dict[str, Any]) -> dict[str, float]:
    """Forecast the whole assignment from the measured networks, for plain `fit`, tuned `fit` and the engine."""
    sweeps = [sweep for question in book.assignment if (sweep := book.sweep(question, data.fingerprint))]
    specs = {spec.run_id: spec for sweep in sweeps for spec in asked(sweep, {})}.values()
    hours = {}
    for side in SIDES:
        times = [
            p.EpochTime(
                Configuration(Network(tuple(network["hidden"]), "relu" if network["hidden"] else "linear")),
                data.train_images,
                network[f"{side}_us_per_batch"] * network["batches"] / 1e6,
            )
            for network in measured["networks"]
        ]
        forecast = Forecast(times, data.train_images, data.shape)
        hours[side] = forecast.total_seconds(spec.configuration for spec in specs) / 3600
    return hours


def tables(measured: dict[str, Any]) -> Group:
    """Lay the figures out in 80 columns: the times, and what they cost."""
    hours, first = measured["assignment_hours"], measured["first_epoch_seconds"]
    caption = (
        f"Microseconds per batch of 32 of the whole machine, evaluation included: median, and least to most. "
        f"{_machine(measured)}. "
        f"The assignment: fit {hours['fit']:.1f} h, tuned {hours['tuned_fit']:.1f} h, JAX {hours['jax']:.1f} h, "
        f"engine ({measured['networks'][0]['trainer']}) {hours['engine']:.1f} h. "
        f"Submit to first epoch: cold {first['cold']:.1f} s, warm {first['warm']:.1f} s."
    )
    times = _table("fit", "tuned fit", "JAX", "engine")
    speeds = _table("ratio", "to tuned fit", "side by side", "images/s")
    costs = _table("of limit", "of bandwidth", "peak of fit", "peak")
    for network in measured["networks"]:
        name = ", ".join(map(str, network["hidden"])) or "linear"
        times.add_row(
            name,
            _times(network["fit_us_per_batch"], network["fit_range"]),
            _times(network["tuned_fit_us_per_batch"], network["tuned_range"]),
            _times(network["jax_us_per_batch"], network["jax_range"]),
            _times(network["engine_us_per_batch"], network["engine_range"]),
        )
        speeds.add_row(
            name,
            f"{network['ratio']:.1f}",
            f"{network['tuned_ratio']:.1f}",
            words.plural(network["engine_workers"], "run"),
            words.count(round(network["images_per_second"])),
        )
        costs.add_row(
            name,
            _share(bench_figure.of_limit(network)),
            _share(network["share_of_bandwidth"]),
            words.size(network["fit_peak_bytes"]),
            words.size(network["engine_peak_bytes"]),
        )
    if measured.get("gpu"):
        costs = _rates(measured["networks"])
    return Group(times, "", speeds, "", costs, "", bench_figure.bars(measured), "", Text(caption))


def _rates(networks: Sequence[dict[str, Any]]) -> Table:
    """Lay out how many runs of 100 epochs an hour are trained; on a GPU, shares of a processor have no meaning."""
    rates = _table("fit: runs/h", "tuned fit", "engine", "fit is on")
    for network in networks:
        an_hour = (
            words.count(round(3600 / (START_SECONDS + 1e-4 * network[f"{side}_us_per_batch"] * network["batches"])))
            for side in ("fit", "tuned_fit", "engine")
        )
        backend = {"jax": "JAX", "tensorflow": "TensorFlow"}[network["fit_backend"]]
        rates.add_row(", ".join(map(str, network["hidden"])) or "linear", *an_hour, backend)
    return rates


def _machine(measured: dict[str, Any]) -> str:
    """Name the machine to which the shares refer."""
    if measured.get("gpu"):
        return f"One {words.clean(measured['gpu'])}, one contender at a time"
    rates = [network["multiply_adds_per_second"] for network in measured["networks"]]
    rate = "" if None in rates else f", {median(rates) / 1e9:.0f} billion multiply-adds/s in the same rounds"
    return f"{measured['cores']} cores, {measured['bandwidth_bytes_per_second'] / 1e9:.0f} GB/s{rate}"


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("hidden", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _share(of: float | None) -> str:
    return "" if of is None else f"{of:.0%}"


def _times(middle: float, ends: Sequence[float]) -> str:
    return f"{middle:,.0f}\n{ends[0]:,.0f} to {ends[1]:,.0f}"
