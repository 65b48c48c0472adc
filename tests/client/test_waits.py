"""Whoever waits is answered, refused, or told that nobody answers; a defect in one thing leaves the others alive."""

import asyncio
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import protocol as p
from engine.core.machine import Machine
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.host.dispatcher import Dispatcher
from engine.host.service import Service
from engine.machine.gpus import GpuMonitor
from engine.scheduling.queue import Queue
from engine.scheduling.slot import Slot
from engine.storage.workspace import Workspace
from engine.workers.process import Worker
from svhn_tui.assignment import answer_data, answers
from svhn_tui.client import session
from svhn_tui.client.bridge import LinkLost
from svhn_tui.client.session import NoAnswer, connected
from tests.support.bridge import Bridge
from tests.support.epochs import epoch_ended
from tests.support.patience import PATIENCE
from tests.support.scenes import BOOK, DATA, relu, result, specs_of

FAKE = f"{sys.executable} -m tests.support.fake_worker"


@pytest.fixture
def trained(tmp_path: Path, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the runs of Q2 and Q5 and their model files, of which nothing trains."""
    monkeypatch.setenv("SVHN_TUI_WORKER", FAKE)
    with Bridge(tmp_path / "w") as bridge:
        data = bridge.open(demo_folder)
        for name in ("Q2", "Q5"):
            bridge.send(p.Submit(sweep=BOOK.sweep(BOOK.question(name), data.fingerprint)))
        bridge.until(lambda state, event: len(state.results) == 2)
        bridge.end()
        bridge.process.wait(PATIENCE)
    return tmp_path / "w"


def replaced(path: Path, by: str) -> None:
    path.unlink(missing_ok=True)
    match by:
        case "a pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case "a link":
            path.symlink_to("/dev/zero")
        case _:
            pass


@pytest.mark.parametrize("by", ["a pipe", "a folder", "a link", "nothing"])
async def test_a_file_that_cannot_be_read_is_one_answer_among_others(trained: Path, by: str):
    bad, good = sorted((trained / "runs").iterdir())
    for folder in (bad, good):
        (folder / "journal.jsonl").touch()
    replaced(bad / "model.keras", by)
    replaced(bad / "journal.jsonl", by)
    async with connected(trained) as there:
        await answer_data.check_files(there, BOOK)
        await answer_data.read_histories(there, BOOK)
        assert set(there.state.histories) == {bad.name, good.name}
        assert there.state.files[good.name] == there.state.results[good.name].model_sha256
        assert there.state.files.get(bad.name, "none") == ("none" if by != "nothing" else None)
        assert there.state.unreadable == ({} if by == "nothing" else {bad.name: "it is not a file"})
        about_files = (some for some in answers.all_answers(BOOK, there.state) if some.question in ("Q3", "Q6"))
        commands = {run: some for some in about_files for run in some.runs}
        assert commands[bad.name].state == "stale"
        assert ("is gone" if by == "nothing" else "cannot be read (it is not a file)") in commands[bad.name].reason
        assert commands[good.name].state == "demo"
        answer = await there.answer(p.Watch(runs=("../../etc",)))
        assert isinstance(answer, p.Refused), "and what is no run at all is refused before any is read"
        await there.ask(p.Shutdown())


def engine(tmp_path: Path, body: str) -> str:
    """An engine that attaches and then does as `body` says."""
    file = tmp_path / "says.py"
    lines = [f"import sys, time; sys.path.insert(0, {str(Path.cwd())!r})", "from engine import protocol as p"]
    lines += ["def tell(event): sys.stdout.buffer.write(p.encode(event)); sys.stdout.buffer.flush()"]
    lines += ["tell(p.Attached(workspace='w', host_pid=1, versions={}))", "tell(p.CaughtUp())", body]
    file.write_text("\n".join(lines))
    return f"{sys.executable} {file}"


SILENT = "sys.stdin.read()"
TALKING = "while True: tell(p.Noticed(text='still here')); time.sleep(0.05)"
GONE = "sys.stdin.readline()"
REFUSING = "tell(p.Refused(command='x', reason='no', request=p.decode_command(sys.stdin.buffer.readline()).request))"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [(SILENT, "does not answer"), (TALKING, "no answer within"), (GONE, "ended without a word")],
    ids=["silent", "talking of other things", "gone"],
)
async def test_a_wait_for_an_answer_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, outcome: str):
    monkeypatch.setenv("SVHN_TUI_ENGINE", engine(tmp_path, body))
    async with connected(tmp_path) as there:
        monkeypatch.setattr(session, "SILENCE_SECONDS", 0.5)
        with pytest.raises(LinkLost, match=outcome):
            await there.answer(p.Choose(question="Q2"), within=1.5)


async def test_a_refusal_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SVHN_TUI_ENGINE", engine(tmp_path, f"{REFUSING}; sys.stdin.read()"))
    async with connected(tmp_path) as there:
        assert (await there.answer(p.Choose(question="Q2"))).reason == "no"
        waiting = asyncio.create_task(there.until(lambda state, event: False))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        monkeypatch.setattr(session, "SILENCE_SECONDS", 0.2)
        with pytest.raises(NoAnswer):
            await there.until(lambda state, event: False)


class Heard:
    """A client of whom only what it is told matters."""

    def __init__(self) -> None:
        self.events: list[p.AnyEvent] = []

    def send(self, line: bytes) -> None:
        self.events.append(p.decode_event(line))


def broken(*arguments: object, **named: object) -> None:
    raise KeyError("a defect")


async def test_a_defect_in_a_command_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    service, client = Service(Workspace(tmp_path)), Heard()
    await service._carry_out(p.encode(p.ReadTrash(request="first")), client)
    monkeypatch.setattr(service._commands, "do", broken)
    await service._carry_out(p.encode(p.ReadTrash(request="second")), client)
    read, done, refused = client.events
    assert (read, done) == (p.TrashRead(results=()), p.Done(request="first"))
    assert (refused.command, refused.request) == ("ReadTrash", "second")
    assert "host.log in the workspace says more" in refused.reason
    assert "KeyError: 'a defect'" in capfd.readouterr().err


@pytest.mark.parametrize("loop", ["saving", "sampling"])
async def test_a_loop_of_the_host_outlives_a_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: str):
    service, client = Service(Workspace(tmp_path)), Heard()
    service._clients.add(client)
    monkeypatch.setattr("engine.host.service.SAVE_SECONDS", 0.01)
    monkeypatch.setattr("engine.host.service.SAMPLE_SECONDS", 0.01)
    monkeypatch.setattr(service._records, "save", broken)
    monkeypatch.setattr(GpuMonitor, "sample", broken)
    service._dispatcher.machine.watch.wanted()
    lock = os.open(tmp_path / "host.lock", os.O_RDWR | os.O_CREAT)
    task = asyncio.create_task(service.save_changes(lock) if loop == "saving" else service.sample_devices())
    monkeypatch.setattr(service, "end_if_idle", counted := Counted())
    async with asyncio.timeout(30):
        while counted.times < 3 and sum(isinstance(event, p.DeviceSampled) for event in client.events) < 3:
            await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    notices = [event.text for event in client.events if isinstance(event, p.Noticed)]
    assert len(notices) == (loop == "saving")
    os.close(lock)


class Counted:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


async def test_a_defect_met_with_one_event_of_a_worker_keeps_none_of_the_next_from_being_heard(tmp_path: Path, capfd):
    heard: list[p.AnyEvent] = []

    def publish(event: p.AnyEvent, line: bytes | None = None) -> None:
        heard.append(event)
        if isinstance(event, p.EpochEnded):
            raise KeyError("a defect")

    queue = Queue(publish, data={DATA.fingerprint: DATA})
    dispatch = Dispatcher(Workspace(tmp_path), Machine((0,), 2**34), queue, publish)
    configuration = Configuration(Network((8,), "relu"), Training(epochs=2))
    queue.want(Sweep("s", DATA.fingerprint, (configuration,), (0,)))
    run = queue.waiting.head
    lines = [
        p.RunStarted(group="g", runs=(run.run_id,), specs=(run.spec,), worker="w", device="d"),
        *(epoch_ended(group="g", runs=(run.run_id,), epoch=epoch, loss=(1.0,), accuracy=(0.5,), test_loss=(1.0,),
                       test_accuracy=(0.5,), seconds=1.0, images_per_second=1.0) for epoch in (1, 2)),
        p.RunFinished(result=result(run.spec, 0.5)),
    ]  # fmt: skip
    worker = Worker(Slot("core0", (0,)), ended_process(map(p.encode, lines)), tmp_path / "log")
    dispatch.pool.add(worker)
    dispatch._send(worker, (run,))
    await dispatch.leave()
    assert [type(event) for event in heard if isinstance(event, p.EpochEnded | p.RunFinished)] == [
        p.EpochEnded, p.EpochEnded, p.RunFinished,
    ]  # fmt: skip
    assert queue.is_idle and queue.result(run.run_id) is not None
    assert "KeyError: 'a defect'" in capfd.readouterr().err


def ended_process(lines) -> SimpleNamespace:
    """A process that has said these lines and has ended."""
    stdout = asyncio.StreamReader()
    for line in lines:
        stdout.feed_data(line)
    stdout.feed_eof()

    async def wait() -> int:
        return 0

    return SimpleNamespace(pid=1, stdin=None, stdout=stdout, stderr=None, wait=wait)


async def test_a_worker_that_cannot_be_started_is_told_of_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_folder: Path
):
    events: list[p.AnyEvent] = []
    monkeypatch.setattr("engine.scheduling.backoff.FIRST_SECONDS", 0.05)
    monkeypatch.setattr("engine.scheduling.backoff.LONGEST_SECONDS", 0.05)
    queue = Queue(events.append, data={DATA.fingerprint: DATA})
    dispatch = Dispatcher(Workspace(tmp_path), Machine((0,), 2**34), queue, lambda event, line: events.append(event))
    tries = 0

    async def start(*arguments: object, **named: object) -> Worker:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise OSError("no more processes") if tries < 3 else KeyError("a defect")
        return Worker(Slot("core0", (0,)), ended_process([]), tmp_path / "log")

    monkeypatch.setattr("engine.workers.process.start", start)
    queue.want(Sweep("s", DATA.fingerprint, (relu(8),), (0,)))
    dispatch.begin()
    async with asyncio.timeout(30):
        while tries < 4:
            await asyncio.sleep(0.01)
    assert [event.text for event in events if isinstance(event, p.Noticed)] == [
        f"No worker can be started: {why}. It is tried again in 0 s, then more rarely."
        for why in ("no more processes", "host.log says why")
    ]
    await dispatch.leave()


def test_what_waits_is_told_of_and_not_trained_by_looking(tmp_path: Path):
    spec = specs_of(relu(8), 1)[0]
    queue = Queue(lambda event: None, data={DATA.fingerprint: DATA})
    dispatch = Dispatcher(Workspace(tmp_path), Machine((0,), 2**34), queue, lambda event, line: None)
    queue.want(Sweep("s", DATA.fingerprint, (relu(8),), (0,)))
    dispatch.advance()
    assert [run.run_id for run in queue.waiting] == [spec.run_id]
    assert not dispatch.pool.launcher.starting
