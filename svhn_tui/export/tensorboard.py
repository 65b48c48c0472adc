"""Runs as TensorBoard reads them: scalars, hyper-parameters and confusion pictures, written by its own writer.

Each run is a folder with one event file of a fixed name, so that exporting again replaces it.
The package comes with TensorFlow, which these parts of it do not load.
"""

import io
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from engine.core.results import EpochRow
from engine.core.spec import RunSpec
from engine.machine.files import Folder
from engine.protocol import RunResult
from svhn_tui.analysis import run_row
from svhn_tui.analysis.metrics import METRICS, known_in

CELL, MOST_PIXELS = 36, 1_800
"""Size of a cell and of a side of a confusion picture, in pixels; with many classes cells are small and empty."""
UNSAFE = re.compile(r"[^\w.+=-]+")


def folder_name(spec: RunSpec) -> str:
    """Return the folder of a run, which is its name in TensorBoard: `relu-256/seed-0-0123456789ab`."""
    label = UNSAFE.sub("-", spec.configuration.label).strip("-.")[:80] or "run"
    return f"{label}/seed-{spec.seed}-{spec.run_id}"


def write_run(
    folder: Path, run: RunResult, rows: Sequence[EpochRow], confusion: Sequence[Sequence[int]], labels: Sequence[str]
) -> None:
    """Write a finished run, replacing its previous files.

    Args:
        folder: TensorBoard's `--logdir`.
        run: its outcome.
        rows: of its epochs.
        confusion: test images by true class (rows) and by prediction (columns); None if it is not known.
        labels: of the classes.

    Raises:
        OSError: it cannot be written.
    """
    values = [_began(run.spec, run.started_at), *_scalars(rows, 0, run.started_at)]
    if confusion:
        values.append(_event(run.finished_at, len(rows), [_picture(confusion, labels)]))
    values.append(_ended(run))
    with _folder_of(folder, run.spec) as below:
        below.write_atomically(_file_name(run.run_id), _encoded([_version(run.started_at), *values]))


class LiveRun:
    """A run in training, whose epochs are appended."""

    def __init__(self, folder: Path, spec: RunSpec, rows: Sequence[EpochRow]) -> None:
        """Write the epochs so far, replacing previous files.

        Raises:
            OSError: it cannot be written.
        """
        self._folder, self._spec = folder, spec
        self._began_at = time.time() - sum(row.seconds or 0.0 for row in rows)
        self._seconds = 0.0
        self.epochs = 0
        """Number of epochs that are written."""
        with _folder_of(folder, spec) as below:
            content = _encoded([_version(self._began_at), _began(spec, self._began_at)])
            below.write_atomically(_file_name(spec.run_id), content)
        self.add(rows)

    def add(self, rows: Sequence[EpochRow]) -> None:
        """Append the epochs of a curve that are not written yet.

        Raises:
            OSError: they cannot be written; they are tried again with the next ones.
        """
        new = rows[self.epochs :]
        content = _encoded(_scalars(new, self.epochs, self._began_at + self._seconds))
        with (self._folder / folder_name(self._spec) / _file_name(self._spec.run_id)).open("ab") as file:
            file.write(content)
        self.epochs += len(new)
        self._seconds += sum(row.seconds or 0.0 for row in new)


def _folder_of(folder: Path, spec: RunSpec) -> Folder:
    folder.mkdir(parents=True, exist_ok=True)
    return Folder.at(folder, *folder_name(spec).split("/"), make=True)


def _file_name(run_id: str) -> str:
    return f"events.out.tfevents.0.{run_id}"


def _encoded(events: Iterable[Any]) -> bytes:
    """Return events in the framing of TensorBoard's own writer."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in events:
        writer.write(event.SerializeToString())
    return content.getvalue()


def _version(at: float) -> Any:
    from tensorboard.compat.proto import event_pb2

    return event_pb2.Event(wall_time=at, file_version="brain.Event:2")


def _event(at: float, step: int, values: Sequence[Any]) -> Any:
    from tensorboard.compat.proto import event_pb2, summary_pb2

    return event_pb2.Event(wall_time=at, step=step, summary=summary_pb2.Summary(value=values))


def _scalars(rows: Sequence[EpochRow], before: int, began_at: float) -> Iterator[Any]:
    """Yield an event an epoch; a loss that is not a number is written as NaN, an unknown value is left out."""
    from tensorboard.compat.proto import summary_pb2

    times = accumulate((row.seconds or 0.0 for row in rows), initial=began_at)
    next(times)
    for epoch, (row, at) in enumerate(zip(rows, times, strict=True), start=before + 1):
        known = {metric.name: metric.read(row) for metric in (*known_in([row]), *METRICS.values())}
        if row.is_diverged:
            losses = ("loss", "test_loss") if row.test_accuracy is not None else ("loss",)
            known |= {name: float("nan") for name in losses if known[name] is None}
        values = [summary_pb2.Summary.Value(tag=name, simple_value=value)
                  for name, value in {**known, "seconds": row.seconds}.items() if value is not None]  # fmt: skip
        if values:
            yield _event(at, epoch, values)


def _began(spec: RunSpec, at: float) -> Any:
    """Return the data of the HParams page at a run's start: every setting, and the seed."""
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionStartInfo(start_time_secs=at, group_name=spec.run_id)
    recorded = spec.configuration.recorded
    settings = {**run_row.written_settings(spec), **dict(recorded.settings if recorded else ()), "seed": spec.seed}
    for name, value in settings.items():
        match value:
            case None:
                continue
            case bool():
                info.hparams[name].bool_value = value
            case int() | float():
                info.hparams[name].number_value = value
            case _:
                info.hparams[name].string_value = str(value)
    return _hparams(at, metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info))


def _ended(run: RunResult) -> Any:
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=run.finished_at)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    return _hparams(run.finished_at, metadata.SESSION_END_INFO_TAG, data)


def _hparams(at: float, tag: str, data: Any) -> Any:
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import metadata

    about = metadata.create_summary_metadata(data)
    return _event(at, 0, [summary_pb2.Summary.Value(tag=tag, tensor=metadata.NULL_TENSOR, metadata=about)])


def _picture(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> Any:
    """Draw test images by true class (rows) and by prediction (columns): the darker, the larger its row's share."""
    from PIL import Image, ImageDraw
    from tensorboard.compat.proto import summary_pb2

    cell = max(1, min(CELL, MOST_PIXELS // (len(confusion) + 1)))
    has_text, size = cell == CELL, cell * (len(confusion) + 1)
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    for index, label in enumerate(labels if has_text else (), start=1):
        draw.text((index * cell + 4, 12), label[:5], fill="black")
        draw.text((4, index * cell + 12), label[:5], fill="black")
    for row, counts in enumerate(confusion, start=1):
        for column, count in enumerate(counts, start=1):
            share = count / max(1, sum(counts))
            shade = round(255 * (1 - share))
            left, top = column * cell, row * cell
            draw.rectangle((left, top, left + cell - 1, top + cell - 1), fill=(shade, shade, 255))
            if has_text:
                draw.text((left + 4, top + 12), str(count), fill="white" if share > 0.5 else "black")
    file = io.BytesIO()
    image.save(file, "PNG")
    drawn = summary_pb2.Summary.Image(height=size, width=size, colorspace=3, encoded_image_string=file.getvalue())
    return summary_pb2.Summary.Value(tag="confusion", image=drawn)
