"""Many at once on one workspace: hosts that race to start, screens, command lines, and one that stops reading."""

import asyncio
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from engine.host import clients
from engine.storage import journal
from tests.faults.aftermath import left_behind, zombies
from tests.faults.conftest import Tally
from tests.faults.scene import sweep_on
from tests.host.test_engine import sweep_of
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.patience import PATIENCE
from tests.support.terminal import PROGRAM, Terminal

CROWD = 6


@pytest.mark.slow
def test_of_hosts_that_race_to_start_one_wins_and_all_are_served(demo_folder: Path, tmp_path: Path, tally: Tally):
    row = tally(f"{CROWD} bridges at once start the host, and all submit")
    for number in range(3):
        with ThreadPoolExecutor(CROWD) as pool:
            bridges = list(pool.map(lambda _: Bridge(tmp_path, **worker()), range(CROWD)))
            for bridge in bridges:
                bridge.until_kind(p.CaughtUp)
            row.injected += 1
            (host,) = {bridge.events[0].host_pid for bridge in bridges}
            children = [child for bridge in bridges for child in psutil.Process(bridge.process.pid).children()]
            row.expect_none(wrong=len(zombies([child.pid for child in children])) + len(children) - 1)
            data = bridges[0].open(demo_folder)
            sweep = sweep_of(data, seeds=5, epochs=number + 1)
            list(pool.map(Bridge.send, bridges, [p.Submit(sweep=sweep)] * CROWD))
            for bridge in bridges:
                bridge.until(lambda state, event, runs=5 * (number + 1): len(state.results) == runs)
            finished = [event.result.run_id for event in bridges[0].events if isinstance(event, p.RunFinished)]
            row.expect_none(doubled=len(finished) - len(set(finished)), lost=5 - len(set(finished)))
        os.kill(host, signal.SIGKILL)  # its socket and its lock's file stay, as after a crash
        for bridge in bridges:
            bridge.process.wait(PATIENCE)
    row.expect_none(wrong=len(left_behind(os.environ["XDG_RUNTIME_DIR"])))


@pytest.mark.slow
def test_two_screens_and_two_command_lines_share_a_workspace(demo_folder: Path, tmp_path: Path, tally: Tally):
    row = tally("two screens and two command lines at once")
    wish = [*PROGRAM, "run", "Q2", "--epochs", "40", "--data", str(demo_folder), "--workspace", str(tmp_path)]
    environment = {**os.environ, "TERM": "dumb"}
    lines = [subprocess.Popen(wish, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) for _ in "ab"]
    with Terminal(tmp_path, 80, 24) as one, Terminal(tmp_path, 120, 40) as other:
        outputs = [line.communicate(timeout=PATIENCE)[0].decode() for line in lines]
        assert [line.returncode for line in lines] == [0, 0], outputs
        assert all("1 of 1 distinct run done" in text for text in outputs)
        for screen in (one, other):
            screen.until(lambda text: "Q11" in text and "✓" in text)
    row.injected += 1
    with Bridge(tmp_path) as bridge:
        bridge.until_kind(p.CaughtUp)
        (result,) = bridge.state.results.values()
        bridge.end()
    events = journal.read(tmp_path / "runs" / result.run_id / "journal.jsonl").events
    epochs = [event.epoch for event in events if isinstance(event, p.EpochEnded)]
    row.expect_none(doubled=len(epochs) - len(set(epochs)), lost=40 - len(set(epochs)))
    row.expect_none(wrong=len(left_behind(os.environ["XDG_RUNTIME_DIR"])))


@pytest.mark.slow
def test_a_screen_that_stops_holds_up_nobody_and_sees_all_when_it_goes_on(
    demo_folder: Path, tmp_path: Path, tally: Tally
):
    row = tally("a client that stops reading (SIGSTOP)")
    with Bridge(tmp_path, **worker()) as other, Bridge(tmp_path) as stopped:
        sweep = sweep_on(other.open(demo_folder), seeds=1)
        stopped.until_kind(p.CaughtUp)
        os.kill(stopped.process.pid, signal.SIGSTOP)
        row.injected += 1
        other.send(p.Submit(sweep=sweep))
        other.until(lambda state, event: len(state.results) == 2)
        os.kill(stopped.process.pid, signal.SIGCONT)
        stopped.until(lambda state, event: len(state.results) == 2)
        row.expect_none(wrong=stopped.state.results != other.state.results)
        other.end()


async def test_what_is_kept_for_a_client_that_does_not_read_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
):
    limit = 1 << 20
    monkeypatch.setattr(clients, "LIMIT_BYTES", limit)
    row = tally("a client behind by more than is kept for it")
    sent = 0
    served: asyncio.Queue[clients.Client] = asyncio.Queue()

    def fresh() -> list[p.AnyEvent]:
        return [p.Attached(workspace="w", host_pid=1, versions={"sent": str(sent)}), p.CaughtUp()]

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = clients.Client(writer, fresh)
        client.greet()
        served.put_nowait(client)

    server = await asyncio.start_unix_server(attend, str(tmp_path / "s"))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"), limit=limit)
    client = await served.get()
    most = 0
    for sent in range(1, 20_001):
        client.send(p.encode(p.Noticed(text=f"{sent:0500d}")))
        if sent % 100 == 0:
            await asyncio.sleep(0)
            most = max(most, client._bytes + client._writer.transport.get_write_buffer_size())
    row.injected += 1
    row.expect_none(wrong=most > 2 * limit)
    seen = 0
    while True:  # what was on its way, then a fresh state that is not older than the last event it has
        event = p.decode_event(await asyncio.wait_for(reader.readline(), 10))
        if isinstance(event, p.Noticed):
            assert int(event.text) == seen + 1, "no gap that is not followed by a fresh state"
            seen += 1
        if isinstance(event, p.Attached):
            seen = int(event.versions["sent"])
        if isinstance(event, p.CaughtUp) and seen == sent:
            break
    client.send(p.encode(p.Noticed(text=f"{sent + 1}")))
    last = p.decode_event(await asyncio.wait_for(reader.readline(), 10))
    row.expect_none(lost=last != p.Noticed(text=f"{sent + 1}"))
    writer.close()
    server.close()
