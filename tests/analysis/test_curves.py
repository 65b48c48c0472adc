"""Series from histories: axes of seconds, single traces, means over what is finite."""

import math

import pytest

from svhn_tui.charts.curves import elapsed, mean_band, smoothed, trace, with_smoothing
from tests.support.epochs import curve_of


def test_seconds_are_added_up_and_averaged_over_runs():
    fast, slow = curve_of(loss=(1.0,) * 3, seconds=(1.0,) * 3), curve_of(loss=(1.0,) * 2, seconds=(3.0, math.nan))
    assert elapsed([fast, slow]) == (2.0, 3.0, 4.0)
    assert elapsed([]) == ()


def test_a_curve_by_seconds_has_its_epochs_where_they_ended():
    history = curve_of(loss=(3.0, 2.0), seconds=(0.5, 0.25))
    line = trace("seed 0", history, "loss", "#ffffff", "▲", by_seconds=True)
    assert (tuple(line.xs), line.values, line.mark) == ((0.5, 0.75), (3.0, 2.0), "▲")
    assert tuple(trace("seed 0", history, "loss", "#ffffff").xs) == (1, 2)


def test_what_is_not_finite_counts_in_no_mean():
    histories = [curve_of(loss=(1.0, math.inf)), curve_of(loss=(3.0, math.nan)), curve_of(loss=(2.0, 4.0))]
    assert mean_band("x", histories, "loss", "#ffffff").values == (2.0, 4.0)


def test_smoothing_survives_what_diverged_and_leaves_the_raw_trace_bare():
    assert smoothed((1.0, math.inf, 1.0), 0.5) == pytest.approx((1.0, None, 1.0))
    raw, line = with_smoothing([mean_band("x", [curve_of(loss=(1.0, 3.0))] * 2, "loss", "#ffffff", "●")], 0.5)
    assert (raw.low, raw.mark, raw.faint) == ((), "", True)
    assert (line.low, line.mark, line.faint) == ((1.0, 3.0), "●", False)
