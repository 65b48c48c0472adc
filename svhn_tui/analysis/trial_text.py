"""What is said of a trial of an own model while it is in progress. Pure."""

import time

from engine.protocol import TrialStarted
from svhn_tui import words


def trial_text(trial: TrialStarted) -> str:
    """`models.py: residual is being built, to try it, for 12 s; until 12:08:10 at most`."""
    lasted = words.duration(max(0.0, time.time() - trial.started_at))
    return f"{_what(trial)} is being built, to try it, for {lasted}; until {_end(trial)} at most"


def trial_start_text(trial: TrialStarted) -> str:
    """Say once, where nothing is drawn again, what is waited for and how it is stopped."""
    return (
        f"{_what(trial)} is being built, to try it before it trains; until {_end(trial)} at most. Ctrl-C stops waiting."
    )


def _what(trial: TrialStarted) -> str:
    return words.clean(f"{trial.file}: {trial.model.build}")


def _end(trial: TrialStarted) -> str:
    return time.strftime("%H:%M:%S", time.localtime(trial.started_at + trial.seconds))
