"""Requests the data of answers from the host: hashes of files, and curves."""

from engine import protocol as p
from svhn_tui.assignment import answers as answering
from svhn_tui.client.session import Session, ensure_known, read_curves
from svhn_tui.presets import Presets


async def check_files(session: Session, book: Presets) -> None:
    """Request the hashes of the files that answers refer to."""
    answers = answering.all_answers(book, session.state)
    bound = [answer for answer in answers if (form := book.question(answer.question).answer) and form.format == "file"]
    runs = tuple(run_id for answer in bound for run_id in answer.runs)
    if runs:
        await ensure_known(
            session, p.CheckFiles(runs=runs), lambda state: set(runs) <= {*state.files, *state.unreadable}
        )


async def read_histories(session: Session, book: Presets) -> None:
    """Request the curves of the runs of the answers."""
    await read_curves(
        session, sorted({run_id for answer in answering.all_answers(book, session.state) for run_id in answer.runs})
    )
