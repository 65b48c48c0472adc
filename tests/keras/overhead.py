"""What a recorded epoch costs the training: `python -m tests.keras.overhead`; needs no Keras and prints one line."""

import os
import statistics
import tempfile
import time
from pathlib import Path

from svhn_tui.keras import Recorder
from tests.support.recorded_fit import begun, logs_of

EPOCHS = 300
PAUSE_SECONDS = 0.01
"""Between epochs, in which the training would train."""


def fit() -> None:
    """Called so, for the recorder looks every time whether this call still runs."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        recorder = Recorder("overhead", workspace=Path(folder) / "w")
        began = time.perf_counter()
        begun(recorder, EPOCHS)
        first = time.perf_counter() - began
        costs, busy = [], time.process_time()
        for epoch in range(EPOCHS):
            time.sleep(PAUSE_SECONDS)
            before = time.perf_counter()
            recorder.on_epoch_begin(epoch)
            recorder.on_epoch_end(epoch, logs_of(epoch % 8))
            costs.append(time.perf_counter() - before)
        busy = time.process_time() - busy
        recorder.on_train_end()
        assert recorder.wait()
        print(
            f"begin {1e3 * first:.1f} ms; an epoch {1e6 * statistics.median(costs):.0f} us in the training's thread "
            f"(99 of 100 below {1e6 * statistics.quantiles(costs, n=100)[-1]:.0f} us), "
            f"{1e6 * busy / EPOCHS:.0f} us of CPU in all threads together"
        )


if __name__ == "__main__":
    fit()
