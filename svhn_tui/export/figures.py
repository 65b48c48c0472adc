"""Curves as SVG text for the report, drawn by matplotlib, which is imported when it is needed."""

import io
from collections.abc import Sequence

from engine.core.curve import Curve
from svhn_tui.analysis.metrics import metric_named
from svhn_tui.charts.curves import mean_band
from svhn_tui.export.default_matplotlib import default_matplotlib

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#555555")
"""After M. Okabe and K. Ito, Color Universal Design, 2008: distinguishable for most eyes."""
DASHES = ("-", "--", "-.", ":")


def curves(groups: Sequence[tuple[str, Sequence[Curve]]], metric: str) -> str:
    """Return one `<svg>` element: a line of means a group, with a band of one standard deviation."""
    label = f"{metric_named(metric).title}, mean ± std"
    with default_matplotlib() as matplotlib:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        matplotlib.rc("svg", fonttype="none", hashsalt=label + metric)
        matplotlib.rc("font", family="sans-serif")
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for index, (name, histories) in enumerate(groups):
            band, color = mean_band(name, histories, metric, ""), COLORS[index % len(COLORS)]
            x = range(1, len(band.values) + 1)
            nan = float("nan")
            axes.plot(
                x, [nan if value is None else value for value in band.values], color=color, label=name,
                linestyle=DASHES[index // 2 % len(DASHES)],
            )  # fmt: skip
            low, high = ([nan if value is None else value for value in side] for side in (band.low, band.high))
            axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8, ncols=2)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
