"""Makes pages; a page's module is loaded when it is first opened, so that the first frame does not wait for it."""

from svhn_tui.presets import Presets
from svhn_tui.screens.page import Page


def page_of(name: str, book: Presets) -> Page:
    """Make the page of this name."""
    match name:
        case "Live":
            from svhn_tui.screens.live import LivePage

            return LivePage(book)
        case "Runs":
            from svhn_tui.screens.runs import RunsPage

            return RunsPage(book)
        case "Compare":
            from svhn_tui.screens.compare import ComparePage

            return ComparePage(book)
        case "Answers":
            from svhn_tui.screens.answers import AnswersPage

            return AnswersPage(book)
        case "Data":
            from svhn_tui.screens.data import DataPage

            return DataPage(book)
        case _:
            from svhn_tui.screens.questions import QuestionsPage

            return QuestionsPage(book)
