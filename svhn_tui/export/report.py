"""`report.html`: one file that needs no network, with the answers and their evidence. Pure except for the drawing."""

import html
from collections.abc import Iterable, Sequence

from engine.machine import system
from svhn_tui import words
from svhn_tui.analysis.progress import rule_text
from svhn_tui.analysis.statistics import pairwise, summary_of
from svhn_tui.assignment.answer_text import AnswerRuns, names_of_parts
from svhn_tui.assignment.answers import Answer
from svhn_tui.assignment.evidence import Fact, facts_of
from svhn_tui.client.state import State
from svhn_tui.export import figures
from svhn_tui.presets import Presets, Question

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --dim: #5f6b76; --line: #d9dee3; --page: #ffffff; --soft: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --dim: #9aa5b1; --line: #3a424b; --page: #15191d; --soft: #1f252b; }
  figure { background: #f4f6f8; border-radius: 8px; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 52rem;
  margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin-bottom: .25rem; }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .25rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .35rem 0; } .dim { color: var(--dim); }
code, pre, .answer { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
.answer { display: block; font-size: 1.2rem; background: var(--soft); border-left: 4px solid #0072b2;
  padding: .6rem .9rem; margin: .75rem 0; border-radius: 0 6px 6px 0; user-select: all; }
.stale, .fragile, .not-as-asked, .demo, .partial { border-left-color: #d55e00; }
pre { background: var(--soft); padding: .8rem 1rem; overflow-x: auto; border-radius: 6px; font-size: .85rem; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
.words th, .words td { text-align: left; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; }
@media print { body { margin: 0; max-width: none; } section { break-inside: avoid; } }
"""


def page(book: Presets, answers: Sequence[Answer], state: State, files: Sequence[tuple[str, str]] = ()) -> str:
    """Return the whole report as HTML; all text from outside is escaped."""
    by_question = {answer.question: answer for answer in answers}
    sections = "".join(
        _section(question, by_question.get(question.id), book, state)
        for question in book.questions
        if question.id in by_question or question.evidence
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(book.title)}</title><style>{STYLE}</style></head><body>\n"
        f"<h1>{_text(book.title)}</h1>{_data(state)}{_files(files)}{sections}{_reproduction(state)}</body></html>\n"
    )


def _data(state: State) -> str:
    if state.data is None:
        return ""
    data = state.data
    kind = "<strong>Demo data, not the assignment's.</strong> " if data.is_demo else ""
    sizes = f"{data.train_images:,} training and {data.test_images:,} test images"
    return f'<p class="dim">{kind}{_text(data.name)}: {sizes}, fingerprint <code>{_text(data.fingerprint)}</code>.</p>'


def _files(files: Sequence[tuple[str, str]]) -> str:
    return f"<section><h2>Files</h2>{_table((), files, 'words')}</section>\n" if files else ""


def _section(question: Question, answer: Answer | None, book: Presets, state: State) -> str:
    head = f"<h2>{question.id} &nbsp;{_text(question.title)}</h2><p class='dim'>{_text(question.text)}</p>"
    if answer is None:
        facts = "".join(map(_fact, facts_of(question, book, state)))
        judged = [(words.clean(some.text), some.verdict, ", ".join(some.facts))
                  for some in state.statements.get(question.id, ())]  # fmt: skip
        stated = _table(("statement", "verdict", "because of"), judged, "words") if judged else ""
        return f"<section>{head}{stated}{facts}</section>\n"
    text = _text(answer.text or "no answer yet")
    body = f'<span class="answer {answer.state}">{text}</span><p>{_text(answer.state)}: {_text(answer.reason)}</p>'
    parts = [part for part in answer.parts if part.results]
    if parts:
        body += _table(
            ("configuration", "parameters", "n", "mean", "std", "std error", "95 % interval"), map(_row, parts)
        )
        if question.finalists is not None:
            sweep = next((some for some in state.sweeps.values() if some.title == question.id), None)
            body += f"<p>{_text(rule_text(sweep.finalists if sweep and sweep.finalists else question.finalists))}</p>"
        compared = pairwise([(name, part.accuracies) for name, part in zip(names_of_parts(parts), parts, strict=True)])
        body += "".join(f"<p>{_text(sentence)}</p>" for sentence, _ in compared)
        body += "".join(f"<p>{_text(flag)}</p>" for flag in answer.flags)
        body += _figure(parts, state)
    return f"<section>{head}{body}</section>\n"


def _row(part: AnswerRuns) -> tuple[str, ...]:
    summary = summary_of(part.accuracies)
    between = " to ".join(map(words.accuracy, summary.interval)) if summary.interval else "–"
    return (
        part.configuration.label, words.count(part.results[0].trainable_parameters), f"{summary.n} of {part.needed}",
        words.accuracy(summary.mean), words.accuracy(summary.deviation), words.accuracy(summary.error), between,
    )  # fmt: skip


def _figure(parts: Sequence[AnswerRuns], state: State) -> str:
    groups = []
    for name, part in zip(names_of_parts(parts), parts, strict=True):
        known = [history for run in part.results if (history := state.history(run.run_id)).epochs]
        if known:
            groups.append((name, known))
    if not groups:
        return ""
    drawn = figures.curves(groups, "test_accuracy")
    return f"<figure>{drawn}</figure>"


def _fact(fact: Fact) -> str:
    sentences = "".join(f"<p>{_text(sentence)}</p>" for sentence in fact.sentences)
    return f"<h3>{_text(fact.title)}</h3>{sentences}" + (_table((), fact.figures) if fact.figures else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "figures") -> str:
    top = f"<tr>{''.join(f'<th>{_text(name)}</th>' for name in head)}</tr>" if head else ""
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table class={kind}>{top}{body}</table>"


def _reproduction(state: State) -> str:
    versions = sorted({f"{name} {version}" for run in state.results.values() for name, version in run.versions.items()})
    devices = sorted({run.device for run in state.results.values()})
    program = system.version()
    rows = (
        ("trained with", ", ".join(versions) or "–"),
        ("on", ", ".join(devices) or "–"),
        ("written by", f"svhn-tui {program}"),
        ("finished runs", f"{len(state.results)}; each is a line of runs.csv"),
    )
    commands = "svhn-tui run all --data DIR\nsvhn-tui export OUT\nsvhn-tui verify OUT/Q2.keras --data DIR --question Q2"
    return (
        "<section><h2>How to get the same again</h2>"
        f"{_table((), rows)}<pre>{_text(commands)}</pre>"
        "<p class='dim'>Equal seeds on equal data give equal runs on one machine; elsewhere rounding differs.</p>"
        "</section>"
    )


def _text(text: str) -> str:
    return html.escape(words.clean(text))
