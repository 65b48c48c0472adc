"""A page with a question under its cursor, about which the user decides: the file, the finalists, the statements."""

from textual import work

from engine import protocol as p
from engine.core import sweep as plan
from svhn_tui.analysis.progress import progress_of, with_finalists
from svhn_tui.assignment.evidence import facts_of
from svhn_tui.dialogs.dialogs import HandIn, PickFinalists
from svhn_tui.dialogs.statements import EditStatement, PickStatement
from svhn_tui.pages.charts import ComparingPage
from svhn_tui.presets import Question


class ChoosingPage(ComparingPage):
    """Choices that the workspace keeps."""

    @property
    def chosen(self) -> Question:
        """The question under the cursor."""
        raise NotImplementedError

    def action_hand_in(self) -> None:
        """Choose the run whose file the question hands in."""
        configurations = self.book.configurations(self.chosen)
        data = self.state.data.fingerprint if self.state.data else ""
        runs = [
            run
            for run in self.state.results.values()
            if run.spec.configuration in configurations and run.spec.data == data
        ]
        if not runs:
            self.notify("None of its runs is done yet, as the question asks for them.")
            return
        runs.sort(key=lambda run: run.spec.seed)
        question = self.chosen.id
        title = f"{question}  The run whose file is handed in"

        def choose(run_id: str | None) -> None:
            if run_id is not None:
                self.want(p.Choose(question=question, run_id=run_id or None))

        self.app.push_screen(HandIn(title, runs, self.state.choices.get(question, "")), choose)

    def action_finalists(self) -> None:
        """Choose by hand who goes on to the second stage."""
        progress = progress_of(self.chosen, self.book, self.state)
        sweep = progress.sweep
        if self.state.data is None or sweep is None or sweep.finalists is None:
            return

        def choose(chosen: tuple[int, ...] | None) -> None:
            if chosen is not None:
                self.want(p.Submit(sweep=with_finalists(sweep, chosen)))

        finalists = plan.finalists(sweep, self.state.accuracies)
        self.app.push_screen(PickFinalists(progress.rows, sweep.finalists, finalists), choose)

    @work
    async def action_statements(self) -> None:
        """Paste a statement of the grader's, or look at one again."""
        question, known = self.chosen, self.state.statements.get(self.chosen.id, ())
        place = await self.app.push_screen_wait(PickStatement(known)) if known else -1
        if place is None:
            return
        facts = [fact.title for fact in facts_of(question, self.book, self.state)]
        edited = EditStatement(question.id, facts, known[place] if place >= 0 else None)
        judged = await self.app.push_screen_wait(edited)
        if judged is not None:
            self.want(judged)
