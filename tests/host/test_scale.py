"""What may not grow with the number of runs: counted in bytes and in writes, never in seconds."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import protocol as p
from engine.host import clients
from engine.host.clients import Client
from engine.storage import records
from engine.storage.index import AtomicStorage, RunIndex
from engine.storage.records import Records
from engine.storage.workspace import QueueOrder, Workspace
from tests.simulation.__main__ import stand_ins, table
from tests.simulation.measure import measure
from tests.support.patience import PATIENCE
from tests.support.scenes import relu, result, specs_of


def results(count: int) -> list[p.RunResult]:
    return [result(spec, 0.5) for spec in specs_of(relu(64), count)]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is closed gets what it waits for, also on a machine that stands still for seconds."""
    monkeypatch.setattr(clients, "CLOSE_SECONDS", PATIENCE)


async def heard_by_a_slow_client(state: list[p.AnyEvent], later: list[p.AnyEvent]) -> tuple[int, list[p.AnyEvent]]:
    """Attach, let `later` happen before anything was read, then read to the end; count how often all was told."""
    ours, theirs = socket.socketpair()
    sent = 0

    def fresh() -> Iterator[p.AnyEvent]:
        nonlocal sent
        sent += 1
        yield from state

    reader, kept_open = await asyncio.open_unix_connection(sock=theirs, limit=p.MAX_LINE_BYTES)
    _, writer = await asyncio.open_unix_connection(sock=ours)
    client = Client(writer, fresh)
    client.greet()
    for event in later:
        client.send(p.encode(event))
    closing = asyncio.create_task(client.close())
    heard = [p.decode_event(line) async for line in reader]
    await closing
    kept_open.close()
    return sent, heard


def test_a_state_longer_than_what_is_kept_for_a_client_is_told_once(monkeypatch: pytest.MonkeyPatch):
    state: list[p.AnyEvent] = [p.RunsRead(results=tuple(results(500)))] * 5
    later: list[p.AnyEvent] = [p.Noticed(text=str(number)) for number in range(100)]
    monkeypatch.setattr(clients, "LIMIT_BYTES", 2**18)
    assert sum(len(p.encode(event)) for event in state) > 4 * clients.LIMIT_BYTES
    assert asyncio.run(heard_by_a_slow_client(state, later)) == (1, [*state, *later])


def test_a_client_that_missed_too_much_gets_a_fresh_state(monkeypatch: pytest.MonkeyPatch):
    state: list[p.AnyEvent] = [p.RunsRead(results=tuple(results(500)))] * 2
    later: list[p.AnyEvent] = [p.Noticed(text="x" * 1_000)] * 500
    monkeypatch.setattr(clients, "LIMIT_BYTES", 2**18)
    sent, heard = asyncio.run(heard_by_a_slow_client(state, later))
    assert (sent, heard) == (2, [*state, *state])


def test_the_index_is_written_more_rarely_the_longer_that_takes_but_a_note_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now, writes, flush = 0.0, 0, AtomicStorage.flush

    def slow(storage: AtomicStorage) -> None:
        nonlocal now, writes
        now, writes = now + 2.0, writes + 1
        flush(storage)

    monkeypatch.setattr(records.time, "monotonic", lambda: now)
    monkeypatch.setattr(AtomicStorage, "flush", slow)
    kept = Records(Workspace(tmp_path), lambda event: None)
    for run in results(1_000):
        kept.add([run])
        kept.save(QueueOrder, ())
        now += 1.0
    assert 2 <= writes <= 1_000 // 100 + 1, "two seconds of writing are followed by a hundred without"
    before, (run,) = writes, results(1)
    (tmp_path / "runs" / run.run_id).mkdir()
    kept.annotate(p.Note(run.run_id, "good"))
    kept.save(QueueOrder, ())
    assert writes == before + 1
    kept.add(results(1_001)[-1:])
    kept.save(QueueOrder, (), is_last=True)
    again = Records(Workspace(tmp_path), lambda event: None)
    assert len(again._index.results()) == 1_001
    assert len(again.notes) == 1


def test_a_thousand_finished_runs_go_through_tinydb_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept = Records(Workspace(tmp_path), lambda event: None)
    handed, write = [], AtomicStorage.write
    monkeypatch.setattr(AtomicStorage, "write", lambda storage, data: (handed.append(len(data)), write(storage, data)))
    for run in results(1_000):
        kept.add([run])
    kept.save(QueueOrder, ())
    assert len(handed) == 1


def test_hundreds_of_runs_go_through_a_real_host_as_the_simulation_drives_it(tmp_path: Path):
    """The tiny form of `make simulate`: nothing is lost or doubled, and a run costs the same bytes in both sizes."""
    environment = stand_ins(tmp_path)
    few = measure(tmp_path / "few", environment, workers=4, runs=50, epochs=3)
    many = measure(tmp_path / "many", environment, workers=4, runs=500, epochs=3)
    for measured in (few, many):
        results = RunIndex(tmp_path / ("few" if measured is few else "many") / "runs.json").results()
        assert len(results) == measured.runs
    assert many.bytes_a_run < 1.2 * few.bytes_a_run
    assert "| workers' events a second |" in table([few, many])
