"""Presets from elsewhere that ask for too much: refused in one sentence that says where, in little memory."""

import json
from pathlib import Path
from typing import Any

from svhn_tui import preset_file
from tests.support.probe import probed, written


def book(**changes: Any) -> bytes:
    raw = json.loads(preset_file.find(Path("no workspace")).read_text())
    question = raw["questions"][1]
    for name, value in changes.items():
        target, _, field = name.rpartition("__")
        {"": raw, "q": question, "upload": question["upload"], "net": raw["networks"]["linear"]}[target][field] = value
    return json.dumps(raw).encode()


def circle() -> bytes:
    raw = json.loads(book())
    raw["questions"][2]["answer"]["of"], raw["questions"][5]["answer"]["of"] = "Q6", "Q3"
    return json.dumps(raw).encode()


PRESETS: dict[str, bytes] = {
    "nested more than 32 levels": b'{"format":1,"title":' + b"[" * 100_000,
    "larger than 1 MiB": bytes(100_000_000),
    "the key 'a' stands twice": b'{"a": 1, "a": 2}',
    "NaN is not a number": b'{"format": NaN}',
    "Infinity is not a number": b'{"format": -Infinity}',
    "thousands of digits": b'{"format": ' + b"9" * 100_000 + b"}",
    "points: from 0 to 1,000": book(q__points=10**400),
    "learning_rate: above 0": book(q__training={"learning_rate": 1e308 * 10}).replace(b"Infinity", b"1e999"),
    "limit_mib: above 0": book(upload__limit_mib=5).replace(b'"limit_mib": 5', b'"limit_mib": 1e999'),
    "more than 100,000 runs": book(q__grid={"epochs": [*range(1, 1001)], "batch_size": [*range(1, 1001)],
                                            "learning_rate": [i / 1e4 for i in range(1, 1001)]}),
    "seeds: whole numbers from 0": book(q__seeds=[-1]),
    "seeds: whole numbers from 0 ": book(q__seeds=[2**31]),
    "epochs: 1 to 100,000": book(q__training={"epochs": 10**9}),
    "hidden: each layer has 1 to 65,536 units": book(net__hidden=[10**12], net__activation="relu"),
    "at most 64 layers": book(net__hidden=[8] * 10_000, net__activation="relu"),
    "input_scaling: a number other than 0": book(net__input_scaling=0.0),
    "upload.file: a plain file name": book(upload__file="../../.bashrc"),
    "upload.file: a plain file name ": book(upload__file=".."),
    "upload.file: a plain file name  ": book(upload__file="a\0b"),
    "upload.file: a plain file name   ": book(upload__file="/etc/passwd"),
    "upload.file: two questions hand in": book(upload__file="Q5.keras"),
    "id: letters and digits only": book(q__id="../x", q__upload=None),
    "chosen: indices of configurations": book(q__finalists={"seeds": [1], "chosen": [-1]}),
    "is itself about another question": circle(),
    "questions: at most 1,000": json.dumps(
        {"format": 1, "title": "", "networks": {},
         "questions": [{"id": f"Q{i}", "kind": "code", "title": "", "text": ""} for i in range(16_000)]}
    ).encode(),
}  # fmt: skip


def test_presets_that_ask_too_much_are_refused_where_they_do(tmp_path: Path):
    outcomes = probed("presets", *written(tmp_path, PRESETS))
    for name, sentence in zip(PRESETS, outcomes.values(), strict=True):
        assert name.strip() in sentence
        assert "\n" not in sentence
