"""Checks of notes, statements and results, wherever they come from. Pure."""

from engine.core.remarks import MAX_STATEMENT, MAX_STATEMENTS, Note, Statement
from engine.core.results import MAX_COUNT, RunResult

MAX_NOTE = 20_000
"""Longest note, in characters."""
MAX_TAGS = 100
MAX_NAME = 100
"""Longest tag and longest question id, in characters."""


def note_problem(note: Note) -> str:
    """Return what is wrong with a note; empty when nothing is."""
    if len(note.text) > MAX_NOTE:
        return f"A note has at most {MAX_NOTE:,} characters."
    if len(note.tags) > MAX_TAGS or any(len(tag) > MAX_NAME for tag in note.tags):
        return f"A run has at most {MAX_TAGS} tags of at most {MAX_NAME} characters."
    return ""


def name_problem(question: str) -> str:
    """Return what is wrong with a question's id; empty when nothing is."""
    return "" if question.isalnum() and len(question) <= MAX_NAME else f"{question[:40]!r} is not a question."


def statement_problem(statement: Statement, others: int) -> str:
    """Return what is wrong with a statement of a question that has so many others; empty when nothing is."""
    size = max(len(statement.text), sum(map(len, statement.facts)))
    if not statement.text.strip() or size > MAX_STATEMENT or others > MAX_STATEMENTS:
        return f"A statement has 1 to {MAX_STATEMENT:,} characters, a question {MAX_STATEMENTS} of them."
    return ""


def result_problem(result: RunResult) -> str:
    """Return which of a result's numbers cannot come from training; empty when all can."""
    if result.is_recorded:
        return _recorded_problem(result)
    counts = (result.trainable_parameters, result.test_images, result.model_bytes, result.best_epoch)
    if any(not 0 < count < MAX_COUNT for count in counts) or not 0 <= result.test_correct <= result.test_images:
        return "its counts are out of range"
    if result.test_accuracy is None or result.best_test_accuracy is None:
        return "it has no test accuracy"
    if abs(result.test_accuracy - result.test_correct / result.test_images) > 1e-6:
        return "its test accuracy is not the share of images that it had right"
    return _range_problem(result)


def _recorded_problem(result: RunResult) -> str:
    counts = (result.test_correct, result.test_images, result.model_bytes)
    if any(counts) or result.model_sha256 or not 0 <= result.trainable_parameters < MAX_COUNT:
        return "a recorded run has neither a file nor counts of test images"
    if not 0 < result.best_epoch < MAX_COUNT:
        return "its best epoch is out of range"
    return _range_problem(result)


def _range_problem(result: RunResult) -> str:
    times = (result.seconds, result.started_at, result.finished_at)
    shares = (result.test_accuracy or 0.0, result.best_test_accuracy or 0.0, result.accuracy or 0.0)
    if any(not 0 <= time < MAX_COUNT for time in times) or any(not 0 <= share <= 1 for share in shares):
        return "its times or accuracies are out of range"
    return ""
