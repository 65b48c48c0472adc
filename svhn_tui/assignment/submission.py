"""What is handed in for a question: code, a file, an answer or a choice, and the state of each. Pure."""

import msgspec

from svhn_tui import words
from svhn_tui.assignment.answers import Answer, Trust, answer_about, answer_of, file_run, is_unfit
from svhn_tui.assignment.keras_code import code_of
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question

MIB = 2**20


class HandedIn(msgspec.Struct, frozen=True):
    """What is handed in for a question."""

    answer: Answer
    text: str
    """Its state, in a few words."""
    state: Trust
    reason: str
    copied: str | None = None
    """The text, or the file's path; None while there is none."""
    is_bound: bool = False
    """Whether the answer is about one file, and wrong for any other."""


def handed_in(question: Question, book: Presets, state: State) -> HandedIn:
    """Return what is handed in for a question, and the state of each item."""
    state = state.on(book.data_of(question))
    answer = answer_of(question, book, state)
    if question.answer is not None:
        is_bound = question.answer.format == "file"
        return HandedIn(answer, answer.text or "–", answer.state, answer.reason, answer.text, is_bound)
    match question.kind:
        case "code":
            return _code(question, answer, book, state)
        case "choice":
            return _choice(question, answer, state)
        case _:
            return _file(question, answer, book, state)


def _code(question: Question, answer: Answer, book: Presets, state: State) -> HandedIn:
    if state.data is None:
        return HandedIn(answer, "code", "missing", "The code names the shape of the images: open the data first.")
    code = code_of(question, book, state.shape, state.train_images)
    return HandedIn(answer, "code", "ready", "Code that defines and compiles the network; c copies it.", code)


def _file(question: Question, answer: Answer, book: Presets, state: State) -> HandedIn:
    run = file_run(question, book, state)
    if run is None:
        return HandedIn(answer, "–", "missing", "Its run is not trained yet: enter on the Questions page trains it.")
    limit = question.upload.limit_mib if question.upload else None
    name = question.upload.file if question.upload else "model.keras"
    path = f"{state.workspace}/runs/{run.run_id}/model.keras"
    text = f"{run.spec.configuration.label}, seed {run.spec.seed}: {path}"
    text += f", at most {limit:g} MiB may be uploaded" if limit else ""
    text += (
        f". x exports it as {name}, by your choice, though it diverged."
        if run.diverged
        else (f". x exports it as {name}, verified.")
    )
    if is_unfit(run, question, state):
        name = f"{run.spec.configuration.label}, seed {run.spec.seed}"
        text = f"{name} diverged: its weights are not numbers. It is handed in only if you choose it: h on Questions."
        return HandedIn(answer, "diverged", "diverged", text)
    trust: Trust = "diverged" if run.diverged else "demo" if run.demo_data else "ready"
    about = answer_about(question, book, state)
    if about is not None and about.state in ("not-as-asked", "stale"):  # a fault of the file is one of its answer
        trust, text = about.state, f"{about.reason} {text}"
    return HandedIn(answer, f"file {words.size(run.model_bytes)}", trust, text, path)


def _choice(question: Question, answer: Answer, state: State) -> HandedIn:
    statements = state.statements.get(question.id, ())
    if not statements:
        return HandedIn(answer, "–", "missing", "Paste the grader's statements on the Questions page: w there.")
    is_true = [words.clean(some.text) for some in statements if some.verdict == "true"]
    is_open = sum(some.verdict == "open" for some in statements)
    verdict = f"{len(is_true)} of {words.plural(len(statements), 'statement')} true"
    text = f"{words.plural(is_open, 'statement')} still open. " if is_open else ""
    text += f"True: {'; '.join(is_true)}" if is_true else "None is held for true."
    return HandedIn(answer, verdict, "partial" if is_open else "ready", text, "\n".join(is_true) or None)
