"""Sweeps of one's own: what is typed, what it comes to, and where it is kept."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.options import OPTIONS
from engine.core.spec import Network, Training
from engine.core.sweep import asked
from svhn_tui import preset_file
from svhn_tui.assignment.sweep_draft import SWEPT, Draft, forecast, in_use, question_of, save, with_draft
from svhn_tui.assignment.typed_values import DraftError
from svhn_tui.cli.arguments import names_of
from svhn_tui.dialogs.sweep_form import HINTS
from tests.support.scenes import BOOK, finished, relu

SHIPPED = preset_file.find(Path("no workspace"))
TEXT = SHIPPED.read_bytes()


def draft(**fields: str) -> Draft:
    return msgspec.structs.replace(Draft(), **fields)


def configurations(**fields: str) -> list[str]:
    whole, question = with_draft(draft(**fields), TEXT, "experiments.json")
    return [some.label for some in preset_file.parse(whole, "experiments.json").configurations(question)]


def test_lists_and_ranges_make_a_grid():
    assert configurations(hidden="64..256/3 64,64 linear", activation="relu tanh") == [
        "relu 64", "tanh 64", "relu 128", "tanh 128", "relu 256", "tanh 256", "relu (64, 64)",
        "tanh (64, 64)", "linear",
    ]  # fmt: skip
    assert configurations(hidden="8", learning_rate="1e-5..1e-3/3", batch_size="32 64", epochs="5") == [
        f"relu 8 · epochs 5{batch}{rate}"
        for rate, batch in [
            ("", ""), ("", " · batch size 64"), (" · learning rate 0.0001", ""),
            (" · learning rate 0.0001", " · batch size 64"), (" · learning rate 0.001", ""),
            (" · learning rate 0.001", " · batch size 64"),
        ]
    ]  # fmt: skip
    question = question_of(draft(seeds="0..2 7", finalists="0..4"), BOOK)
    assert (question.id, question.seeds, question.finalists.seeds) == ("S1", (0, 1, 2, 7), (0, 1, 2, 3, 4, 7))


def test_every_setting_that_there_is_can_be_swept():
    fields = set(Draft().__struct_fields__)
    assert {*Network.__struct_fields__, *Training.__struct_fields__} - fields == {"convolutions"}
    assert set(HINTS) == fields
    assert configurations(hidden="8 linear", dropout="0 0.5", optimizer="adam sgd", batch_normalization="yes") == [
        "relu 8 · batch normalization", "relu 8 · batch normalization · optimizer sgd",
        "relu 8 · dropout 0.5 · batch normalization", "relu 8 · dropout 0.5 · batch normalization · optimizer sgd",
        "linear · batch normalization", "linear · batch normalization · optimizer sgd",
        "linear · dropout 0.5 · batch normalization", "linear · dropout 0.5 · batch normalization · optimizer sgd",
    ]  # fmt: skip
    with pytest.raises(DraftError, match="more than 5,000 networks"):
        forecast(draft(hidden="1..200", dropout="1e-6..0.5/100"), TEXT, "experiments.json", finished())


def test_every_kind_of_option_is_read():
    fields = {"weight_decay": "none 1e-3", "optimizer": "adamw", "amsgrad": "no yes", "class_weight": "none 1,2.5"}
    assert configurations(hidden="8", epochs="9", **fields) == [
        f"relu 8 · epochs 9 · optimizer adamw{amsgrad}{decay}{weights}"
        for amsgrad in ("", " · amsgrad")
        for decay in ("", " · weight decay 0.001")
        for weights in ("", " · class weight 1.0,2.5")
    ]
    metrics = configurations(hidden="8", metrics="top_k_categorical_accuracy")
    assert metrics == ["relu 8 · metrics top k categorical accuracy"]
    question = question_of(draft(weight_decay="1e-4", learning_rate="1e-5"), BOOK)
    assert question.training == {"weight_decay": 1e-4}, "what is as usual is not stated"


def test_the_form_shows_the_options_that_have_a_meaning():
    shown = {option.name for option in SWEPT if in_use(draft(optimizer="sgd adam", schedule="step"), option)}
    assert {"momentum", "nesterov", "beta_1", "decay_rate", "patience", "clipnorm"} <= shown
    assert not {"rho", "warmup_epochs", "alpha", "monitor", "restore_best_weights"} & shown
    assert in_use(draft(patience="0 5"), OPTIONS["monitor"])
    assert not in_use(draft(optimizer="adam"), OPTIONS["momentum"])


def test_own_sweeps_are_no_part_of_the_assignment(tmp_path: Path):
    question = save(Draft(), tmp_path)
    book = preset_file.load(preset_file.find(tmp_path))
    assert book.question("S1") == question
    assert book.assignment == BOOK.questions
    assert "S1" not in names_of(book, ["all"])


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("hidden", "64 x", "hidden: 'x' is not a whole number."),
        ("hidden", "", "hidden: `linear`"),
        ("hidden", "0", "hidden: each layer has 1 to 65,536 units."),
        ("dropout", "1", "dropout: from 0 to below 1."),
        ("activation", "swoosh", "activation: 'swoosh'; there are linear, relu"),
        ("learning_rate", "1e-5..1e-3", "learning rate: say how many values"),
        ("learning_rate", "2", None),
        ("learning_rate", "-1", "training.learning_rate: above 0"),
        ("learning_rate", "nan", "learning rate: nan is out of range."),
        ("epochs", "9..1", "epochs: 9..1 runs backwards."),
        ("seeds", "0..999999999", "seeds: say how many values"),
        ("seeds", "-1", "seeds: whole numbers from 0"),
        ("batch_size", "0", "training.batch_size: 1 to 65,536."),
        ("momentum", "0.9", "training.momentum: it belongs to the optimizer sgd or rmsprop; here that is adam."),
        ("weight_decay", "x", "weight decay: 'x' is not a number."),
        ("class_weight", "1,x", "class weight: 'x' is not a number."),
        ("metrics", "auc", "metrics: 'auc'; there are top_k_categorical_accuracy."),
    ],
)
def test_a_wrong_field_is_named_in_one_sentence(field: str, text: str, message: str | None):
    if message is None:
        assert forecast(draft(**{field: text}), TEXT, "experiments.json", finished())
        return
    with pytest.raises(DraftError) as refused:
        forecast(draft(**{field: text}), TEXT, "experiments.json", finished())
    assert message in str(refused.value)
    assert "experiments.json" not in str(refused.value), "whoever fills in a form sees no file"


@given(st.fixed_dictionaries({name: st.text(max_size=30) for name in Draft().__struct_fields__}))
def test_whatever_is_typed_is_read_or_refused(fields: dict[str, str]):
    try:
        assert forecast(Draft(**fields), TEXT, "experiments.json", finished())
    except DraftError as error:
        assert "\n" not in str(error).strip()


def test_a_sweep_says_which_data_set_it_uses():
    raw = {**json.loads(TEXT), "data": {"svhn": {"folder": "svhn"}, "cifar": {"file": "cifar10.npz"}}}
    text = json.dumps(raw).encode()
    whole, question = with_draft(draft(data=" cifar "), text, "experiments.json")
    book = preset_file.parse(whole, "experiments.json")
    assert book.data_of(book.question("S1")) == question.data == "cifar"
    assert not with_draft(draft(), text, "experiments.json")[1].data
    with pytest.raises(DraftError, match=r"^data: no data set 'cifer'; did you mean 'cifar'\?"):
        with_draft(draft(data="cifer"), text, "experiments.json")


def test_runs_that_exist_are_not_counted_as_new():
    text = forecast(draft(hidden="64 256", seeds="0..4"), TEXT, "experiments.json", finished((relu(256), 3, 0.5)))
    assert text.startswith("2 configurations x 5 seeds = 10 runs: 7 runs to train, 3 finished before, about ")


def test_a_saved_sweep_is_a_preset_beside_all_that_was_there(tmp_path: Path):
    first = save(draft(title="wide [b]", hidden="2048", learning_rate="1e-5 1e-4"), tmp_path)
    second = save(draft(hidden="256"), tmp_path)
    book = preset_file.load(preset_file.find(tmp_path))
    assert (first.id, second.id) == ("S1", "S2")
    assert [question.id for question in book.questions] == [question.id for question in BOOK.questions] + ["S1", "S2"]
    assert book.question("S1").title == "wide [b]"
    assert len(asked(book.sweep(book.question("S1"), "data"), {})) == 2 * 3
    runs = {spec.run_id for spec in asked(book.sweep(book.question("S2"), "data"), {})}
    assert runs <= {spec.run_id for spec in asked(book.sweep(book.question("Q7"), "data"), {})}, (
        "shared, not trained twice"
    )
    assert json.loads((tmp_path / "experiments.json").read_text())["networks"].keys() == {*BOOK.networks, "relu 2048"}
