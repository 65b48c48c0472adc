"""The Questions page: what its keys ask of the engine."""

import asyncio
import json
import re
from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from svhn_tui import preset_file
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.pages.questions import QuestionsPage
from tests.support.scenes import BOOK, DATA, Stage, attached, finished, relu, screen_text, tanh, until

DONE = finished((tanh(256), 10, 0.5), (relu(256), 10, 0.55))


async def pressed(state: State, *keys: str) -> list[p.AnyCommand]:
    stage = Stage(QuestionsPage(BOOK), state)
    async with stage.run_test(size=(120, 40)) as pilot:
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
    return [command for command in stage.wanted if not isinstance(command, p.Watch)]


@pytest.mark.asyncio
async def test_a_statement_is_pasted_judged_and_tied_to_facts():
    text = [*"Wider", "space", *"is", "space", *"better."]
    (judged,) = await pressed(DONE, *["down"] * 7, "w", *text, "tab", "down", "tab", "space", "ctrl+s")
    assert (judged.question, judged.replaces) == ("Q8", "")
    assert judged.statement == p.Statement("Wider is better.", "true", ("Accuracy against parameters",))

    known = fold((p.Judged(question="Q8", statements=(judged.statement,)),), DONE)
    (again,) = await pressed(known, *["down"] * 7, "w", "down", "enter", "tab", "down", "tab", "space", "ctrl+s")
    assert again.replaces == "Wider is better."
    assert again.statement == p.Statement("Wider is better.", "false", ())
    (gone,) = await pressed(known, *["down"] * 7, "w", "down", "enter", "ctrl+d")
    assert (gone.statement, gone.replaces) == (None, "Wider is better.")
    assert await pressed(known, *["down"] * 7, "w", "escape") == []


@pytest.mark.asyncio
async def test_finalists_are_ticked_by_hand_and_the_rule_taken_again():
    (submitted,) = await pressed(DONE, *["down"] * 9, "w", "space", "down", "down", "space", "enter")
    assert submitted.sweep.finalists.chosen == (0, 2)
    chosen = fold((p.SweepSubmitted(sweep=submitted.sweep, missing=()),), DONE)
    (ruled,) = await pressed(chosen, *["down"] * 9, "w", "r")
    assert ruled.sweep == BOOK.sweep(BOOK.question("Q10"), DONE.data.fingerprint)


@pytest.mark.asyncio
@pytest.mark.parametrize(("question", "key"), [(1, "R"), (7, "w"), (9, "w")])
async def test_a_dialog_shows_its_keys_in_a_small_window(question: int, key: str):
    stage = Stage(QuestionsPage(BOOK), DONE)
    async with stage.run_test(size=(80, 24)) as pilot:
        await pilot.press(*["down"] * question, key)
        await until(pilot, lambda: "esc goes back" in " ".join(stage.text.replace("│", " ").split()))


async def test_everything_is_launched_by_one_key_after_a_forecast():
    titles = [command.sweep.title for command in await pressed(DONE, "A", "y")]
    assert sorted(titles) == ["Q10", "Q2", "Q5", "Q7", "Q9"]
    assert titles[0] in ("Q5", "Q7"), "nothing is missing there: the cheapest"
    assert await pressed(DONE, "A", "n") == []


async def test_a_sweep_of_ones_own_is_typed_kept_and_trained(tmp_path: Path):
    from svhn_tui.app import SvhnApp
    from svhn_tui.dialogs.sweep_form import SweepForm

    app = SvhnApp(tmp_path, (), None, BOOK)
    app._connection.hold = asyncio.Event().wait  # no engine
    async with app.run_test(size=(80, 24)) as pilot:
        app._receive((*attached(),))
        await pilot.pause()
        await pilot.press("s")
        await pilot.pause()
        assert isinstance(app.screen, SweepForm)
        await until(pilot, lambda: re.search(r"│  title +│? *\n.*│   my sweep", screen_text(app)) is not None)
        await pilot.press("down", "end", *["backspace"] * 6, *"8", "enter")
        await pilot.pause()
        assert app.screen.query_one("#about")
        listed = app.screen.query_one("OptionList")
        assert listed.get_option_at_index(listed.highlighted).id == "S1"
    assert preset_file.load(tmp_path / "experiments.json").question("S1").networks == ("relu 8",)


async def test_a_model_file_that_is_edited_while_the_screen_is_open_is_read_and_asked_about_again(tmp_path: Path):
    from svhn_tui.app import SvhnApp
    from svhn_tui.dialogs.dialogs import Confirm
    from svhn_tui.dialogs.trusting import TrustModelFiles

    sent: list[p.AnyCommand] = []

    async def send(command: p.AnyCommand) -> bool:
        sent.append(command)
        return True

    def sources() -> list[str]:
        return [text for command in sent if isinstance(command, p.Submit) for text in command.sources]

    file, mine = tmp_path / "models.py", {"file": "models.py", "build": "build"}
    file.write_text("first = 1\n")
    questions = [{"id": id, "kind": "training", "title": id, "text": id, "networks": ["mine"], "seeds": [seed]}
                 for seed, id in enumerate(("A1", "A2"))]  # fmt: skip
    book = {"format": 1, "title": "own", "networks": {"mine": mine}, "questions": questions}
    (tmp_path / "experiments.json").write_text(json.dumps(book))
    app = SvhnApp(tmp_path, (), None, preset_file.load(tmp_path / "experiments.json"))
    app._connection.hold, app._connection.send = asyncio.Event().wait, send  # no engine
    async with app.run_test(size=(80, 24)) as pilot:
        app._receive((*attached(),))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, TrustModelFiles))
        await pilot.press("y")
        await until(pilot, lambda: sources() == ["first = 1\n"] and isinstance(app.screen, QuestionsPage))
        file.write_text("second = 2\n")
        await pilot.press("A")  # both questions
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: any("models.py changed" in notice.text for notice in app.notice_log))
        assert sources() == ["first = 1\n"]
        await until(pilot, lambda: isinstance(app.screen, QuestionsPage))
        assert app.screen.chosen.id == "A1"
        await pilot.press("A")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, TrustModelFiles))
        assert "second = 2" in screen_text(app)
        await pilot.press("y")  # one word for both questions
        two = ["first = 1\n", "second = 2\n", "second = 2\n"]
        await until(pilot, lambda: sources() == two and isinstance(app.screen, QuestionsPage))
        file.unlink()
        await pilot.press("enter")
        await until(pilot, lambda: any("cannot be read" in notice.text for notice in app.notice_log))
        assert len(sources()) == 3


async def test_the_form_asks_for_the_data_set_where_there_are_several(tmp_path: Path):
    from svhn_tui.app import SvhnApp

    raw = json.loads(preset_file.find(tmp_path).read_bytes())
    raw["data"] = {"svhn": {"folder": "svhn"}, "cifar": {"file": "cifar10.npz"}}
    (tmp_path / "experiments.json").write_text(json.dumps(raw))
    app = SvhnApp(tmp_path, (), None, preset_file.load(tmp_path / "experiments.json"))
    app._connection.hold = asyncio.Event().wait  # no engine
    async with app.run_test(size=(80, 24)) as pilot:
        app._receive((*attached(),))
        await pilot.press("s", "down", *"cifar", "down", "end", *["backspace"] * 6, *"8", "enter")
        await pilot.pause()
    question = preset_file.load(tmp_path / "experiments.json").question("S1")
    assert (question.data, question.networks) == ("cifar", ("relu 8",))


async def test_what_is_wanted_before_the_data_is_open_is_trained_on_the_data_that_was_asked_for(tmp_path: Path):
    from svhn_tui.app import SvhnApp

    sent: list[p.AnyCommand] = []

    async def send(command: p.AnyCommand) -> bool:
        sent.append(command)
        return True

    app = SvhnApp(tmp_path, ("new.npz",), None, BOOK)
    app._connection.hold, app._connection.send = asyncio.Event().wait, send  # no engine
    attached_event, caught_up, opened = attached()
    before = msgspec.structs.replace(DATA, fingerprint="before")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down", "enter")
        app._receive((msgspec.structs.replace(attached_event, data=before), caught_up))
        await pilot.press("down", "down", "down", "enter", "3")
        await pilot.pause()
        assert not any(isinstance(command, p.Submit) for command in sent), "that data was in use before"
        app._receive((opened,))
        await pilot.pause()
    submitted = [command.sweep for command in sent if isinstance(command, p.Submit)]
    assert [(sweep.title, sweep.data) for sweep in submitted] == [("Q2", DATA.fingerprint), ("Q5", DATA.fingerprint)]
