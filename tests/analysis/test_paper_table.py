"""Tables for papers: what stands in them, and that no name is taken for more than text."""

from collections.abc import Iterator

import msgspec

from engine.core.spec import Configuration, Network, RecordedModel, Recording, RunSpec, Training
from engine.protocol import RunResult
from svhn_tui.analysis import paper_table
from tests.support.scenes import DATA, relu, result, specs_of, tanh


def runs() -> Iterator[RunResult]:
    for configuration, accuracies in ((relu(256), (0.5, 0.52)), (tanh(256), (0.6, 0.64))):
        for spec, accuracy in zip(specs_of(configuration, 2), accuracies, strict=True):
            yield msgspec.structs.replace(result(spec, accuracy), versions={"keras": "3.11.3"}, test_loss=1.5)


LATEX = r"""\begin{tabular}{lrrrrr}
\hline
configuration & parameters & n & test accuracy & train accuracy & test loss \\
\hline
relu 256 & 789258 & 2 & 0.5100 $\pm$ 0.0141 & 0.5600 $\pm$ 0.0141 & \textbf{1.5000 $\pm$ 0.0000} \\
tanh 256 & 789258 & 2 & \textbf{0.6200 $\pm$ 0.0283} & \textbf{0.6700 $\pm$ 0.0283} & \textbf{1.5000 $\pm$ 0.0000} \\
\hline
\end{tabular}
% ± is the standard deviation of a run; n the number of runs; bold the best mean.
% Trained with keras 3.11.3.
% On gpu0 (fast).
% Seeds 0, 1.
% Data: p4_2026_svhn, fingerprint f00d.
"""
MARKDOWN = r"""| configuration | parameters | n | test accuracy | train accuracy | test loss |
| --- | ---: | ---: | ---: | ---: | ---: |
| relu 256 | 789258 | 2 | 0.5100 ± 0.0141 | 0.5600 ± 0.0141 | **1.5000 ± 0.0000** |
| tanh 256 | 789258 | 2 | **0.6200 ± 0.0283** | **0.6700 ± 0.0283** | **1.5000 ± 0.0000** |

± is the standard deviation of a run; n the number of runs; bold the best mean.
Trained with keras 3.11.3.
On gpu0 (fast).
Seeds 0, 1.
Data: p4\_2026\_svhn, fingerprint f00d.
"""


def test_the_better_one_is_bold_and_the_table_says_what_was_trained_with():
    assert paper_table.latex(tuple(runs()), DATA) == LATEX
    assert paper_table.markdown(tuple(runs()), DATA) == MARKDOWN


def recorded(name: str) -> RunResult:
    model = RecordedModel(name, 24)
    spec = RunSpec(Configuration(recorded=model), 0, "", recording=Recording("0" * 16, 1.0))
    return msgspec.structs.replace(result(spec, 0.5), test_accuracy=None, best_test_accuracy=None)


def test_names_are_text_and_nothing_more():
    line = paper_table.latex((recorded(r"50% & \a_b{c}^~#$"),), DATA).splitlines()[4]
    name = r"50\% \& \textbackslash{}a\_b\{c\}\textasciicircum{}\textasciitilde{}\#\$ (recorded)"
    assert line == rf"{name} & 789258 & 1 & – & 0.5500 & 1.5000 \\"
    line = paper_table.markdown((recorded("a|b *c* `d` [e](f) <g>"),), DATA).splitlines()[2]
    assert line.startswith(r"| a\|b \*c\* \`d\` \[e\](f) \<g\> (recorded) | 789258 |")


def test_runs_on_several_data_sets_are_told_apart():
    spec = RunSpec(Configuration(Network()), 0, "other")
    rows = paper_table.rows_of((*runs(), result(spec, 0.4)))
    assert [(row.data, row.label) for row in rows] == [("f00d", "relu 256"), ("f00d", "tanh 256"), ("other", "linear")]
    demo = msgspec.structs.replace(result(spec, 0.9), demo_data=True)
    table = paper_table.markdown((*runs(), demo), DATA)
    assert "| linear | other | 789258 | 1 | 0.9000 |" in table, "alone on its data set, it is not the best of anything"
    assert "| **0.6200 ± 0.0283** |" in table
    assert "Demo data" in table


def test_what_all_rows_share_is_said_once():
    networks = (Network((64,), "relu"), Network((64,), "tanh"))
    settings = [
        Configuration(network, Training(epochs=10, learning_rate=rate)) for network in networks for rate in (0.1, 0.2)
    ]
    ran = [result(RunSpec(configuration, 0, "f00d"), 0.5) for configuration in settings]
    table = paper_table.markdown((*ran, recorded("mine")), DATA)
    assert [line.split(" | ")[0] for line in table.splitlines()[2:7]] == [
        r"| mine (recorded)", "| relu 64 learning rate 0.1", "| relu 64 learning rate 0.2",
        "| tanh 64 learning rate 0.1", "| tanh 64 learning rate 0.2",
    ]  # fmt: skip
    assert "\nAll with epochs 10.\n" in table
    alone = paper_table.markdown(ran[:1], DATA)
    assert "| relu 64 |" in alone and "All with epochs 10, learning rate 0.1." in alone


def test_a_table_of_nothing_has_a_head():
    assert paper_table.markdown((), None).splitlines()[0].startswith("| configuration |")
