"""What is sent to the engine: a model file is asked about before it is trained for the first time."""

import asyncio
from pathlib import Path

import pytest

from engine import protocol as p
from svhn_tui import preset_file
from svhn_tui.app import SvhnApp
from svhn_tui.dialogs.trusting import TrustModelFiles
from tests.assignment.test_model_files import MINE, written
from tests.support.own_models import SOURCE
from tests.support.scenes import attached, until


@pytest.mark.parametrize("answer", ["y", "n"])
async def test_a_new_model_file_is_trained_only_once_the_user_lets_it_run(answer: str, tmp_path: Path):
    (tmp_path / "models.py").write_text(SOURCE)
    sent: list[p.AnyCommand] = []

    async def send(command: p.AnyCommand) -> bool:
        sent.append(command)
        return True

    app = SvhnApp(tmp_path, (), None, preset_file.load(written(tmp_path, MINE)))
    app._connection.hold, app._connection.send = asyncio.Event().wait, send  # no engine
    async with app.run_test(size=(80, 24)) as pilot:
        app._receive(attached())
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrustModelFiles))
        assert not any(isinstance(command, p.Submit) for command in sent)
        await pilot.press(answer)
        await until(
            pilot, lambda: not isinstance(app.screen, TrustModelFiles) and (answer == "n" or bool(submitted(sent)))
        )
    assert submitted(sent) == ([("A1", (SOURCE,))] if answer == "y" else [])


def submitted(sent: list[p.AnyCommand]) -> list[tuple[str, tuple[str, ...]]]:
    return [(command.sweep.title, command.sources) for command in sent if isinstance(command, p.Submit)]
