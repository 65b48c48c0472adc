"""An engine whose every text is an attack on the terminal: `python -m tests.support.hostile_engine`."""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine import protocol as p
from svhn_tui import preset_file
from tests.support.epochs import epoch_ended
from tests.support.scenes import BOOK, DATA, GPU, history, relu, result, specs_of, tanh, waiting

LITERALS = {
    "kind", "status", "state", "severity", "activation", "kernel_initializer", "bias_initializer", "optimizer",
    "trainer", "padding", "verdict",
}  # fmt: skip
"""Fields whose values the protocol enumerates: another one would be no event at all."""
NAMES = {"run_id", "runs", "group", "data", "fingerprint", "sweep_id", "question", "facts", "labels", "request"}
"""Fields that events find each other by; they are attacks only in events that need no other."""
OSC_COPY, OSC_LINK = "\x1b]52;c;ZXZpbA==\x07", "\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\"
CSI, C1 = "\x1b[66;6H\x1b[41m\x1b[?1049l", "\x9b66;6H\x9d52;c;eA==\x9c\x85\x90evil\x9c"
BIDI, HIDDEN = "\u202eLTR\u2066\u2067\u2069\u200f\u061c", "\u200b\u200d\ufeff\U000e0041"
MARKUP = "[/x][b]bold[/b][link=http://evil.example]x[/link]<script>alert(1)</script>"
EVIL = f"evil{MARKUP}{OSC_COPY}{OSC_LINK}{CSI}{C1}{BIDI}{HIDDEN}\x00\x07\x08\x0e\x7f\nline\r\tend"
LONG = EVIL * 50
"""About ten kilobytes."""


def spoilt(value: Any, *, all_names: bool = False, name: str = "") -> Any:
    """Return the value with an attack in front of every text of it."""
    if isinstance(value, dict):
        return {
            (f"{EVIL}{key}" if name == "versions" else key): spoilt(inner, all_names=all_names, name=key)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [spoilt(inner, all_names=all_names, name=name) for inner in value]
    is_kept = name in LITERALS or (name in NAMES and not all_names)
    return value if is_kept or not isinstance(value, str) else (LONG if name in ("reason", "text") else EVIL) + value


def evil(event: p.AnyEvent, *, all_names: bool = False) -> bytes:
    """Return the event's line with attacks in it."""
    line = msgspec.json.encode(spoilt(msgspec.to_builtins(event), all_names=all_names)) + b"\n"
    p.decode_event(line)  # it is an event like any other
    return line


SWEEP = BOOK.sweep(BOOK.question("Q9"), DATA.fingerprint)


def events(*, honest: bool = False) -> list[bytes]:
    """A workspace in which everything is going on; an honest one has no attacks in it."""
    configurations = BOOK.configurations(BOOK.question("Q7"))
    finished = [result(spec, 0.5) for some in configurations for spec in specs_of(some, 3)]
    finished[0] = msgspec.structs.replace(finished[0], versions={"keras": "3"})
    training, queue = specs_of(relu(64), 2), waiting("Q9", specs_of(relu(1024), 3))
    runs = tuple(spec.run_id for spec in training)
    lanes = (0.5, 0.4)
    ended = epoch_ended(group="g", runs=runs, epoch=1, loss=lanes, accuracy=lanes, test_loss=lanes,
                         test_accuracy=lanes, seconds=1.0, images_per_second=1e6)  # fmt: skip
    failed = specs_of(tanh(256), 9)[-1]
    statement = p.Statement("Wider is better.", "true", ("Width",))
    names = {"Q8": (statement,)}
    all_events = [
        p.Attached(workspace="w", host_pid=1, versions={"a": "b"}, data=DATA, statements=names),
        p.RunsRead(results=tuple(finished), notes=tuple(p.Note(run.run_id, "a note", ("tag",)) for run in finished)),
        p.SweepSubmitted(sweep=SWEEP, missing=()),
        p.RunsQueued(waiting=(*queue, *waiting("Q7", (failed,)))),
        p.WorkerChanged(worker="w0", state="training", device="gpu0", text="trains"),
        p.RunStarted(group="g", runs=runs, specs=training, worker="w0", device="gpu0"),
        ended,
        p.CheckpointSaved(runs=runs, epoch=1),
        p.RunFailed(run_id=failed.run_id, reason="out of memory"),
        p.DeviceSampled(samples=(GPU,), at=1.0),
        p.Noticed(text="damaged", severity="warning"),
        p.CaughtUp(),
    ]
    nameless = [
        p.RunsRead(results=(result(specs_of(tanh(8), 1)[0], 0.6),)),
        p.RunFailed(run_id="someone", reason="broken"),
        p.Refused(command="Fly", reason="no wings"),
    ]
    if honest:
        return [p.encode(event) for event in (*all_events, *nameless)]
    return [*(evil(event) for event in all_events), *(evil(event, all_names=True) for event in nameless)]


def answer_to(command: p.AnyCommand) -> list[bytes]:
    match command:
        case p.OpenData():
            return [evil(p.DataOpened(data=DATA, request=command.request))]
        case p.Watch():
            return [evil(p.HistoryRead(run_id=run, history=history(100, 0.5, 1))) for run in command.runs]
        case p.CheckFiles():
            return [evil(p.FilesChecked(hashes=dict.fromkeys(command.runs)))]
        case p.ReadTrash():
            return [evil(p.TrashRead(results=(result(specs_of(tanh(9), 1)[0], 0.6),)), all_names=True)]
        case _:
            return [evil(p.Refused(command="x", reason="no", request=command.request))]


def presets_text() -> str:
    book = json.loads(preset_file.find(Path("no workspace")).read_text())
    book["title"] = EVIL
    for question in book["questions"]:
        question["title"], question["text"] = EVIL + question["title"], LONG + question["text"]
    return json.dumps(book)


def main() -> None:
    for line in events():
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        for answer in answer_to(p.decode_command(line)):
            sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
