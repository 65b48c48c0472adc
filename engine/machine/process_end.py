"""How a process ended, in words. Pure."""

import signal


def how_ended(status: int, detail: str = "") -> str:
    """Return the end of a sentence about a process: `ended with exit code 1: no memory`, `was ended by SIGKILL`.

    Args:
        status: its exit code, negative for a signal.
        detail: what it wrote last, if that is known.
    """
    how = f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with exit code {status}"
    return f"{how}: {detail.rstrip('.')}" if detail else how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
