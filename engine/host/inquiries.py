"""Answers a client's questions about runs, without changing anything."""

import asyncio
import traceback

from engine import protocol as p
from engine.host import subprocesses
from engine.host.clients import Client
from engine.scheduling.queue import Queue
from engine.storage import approvals, file_hashes, journal, logs, sources
from engine.storage.records import Records
from engine.storage.workspace import Workspace

Inquiry = p.ReadTrash | p.Watch | p.ReadLog | p.CheckFiles | p.Inspect

MAX_INSPECTIONS = 4
"""Number of inspections at a time: each is a process with its own libraries and data."""
DEFECT = "It failed for a reason that svhn-tui does not know; host.log in the workspace says more."


class Inquiries:
    """Reads the workspace, and sends the answer to the client that asked."""

    def __init__(self, workspace: Workspace, records: Records, queue: Queue) -> None:
        self._workspace, self._records, self._queue = workspace, records, queue
        self._inspecting: set[asyncio.Task[None]] = set()

    async def answer(self, inquiry: Inquiry, client: Client) -> None:
        """Answer this client; an inspection is started and answered later.

        Raises:
            ValueError: it names no run, or too much is asked at once; one sentence says why.
            OSError: the workspace cannot be read.
        """
        match inquiry:
            case p.ReadTrash():
                client.send(p.encode(p.TrashRead(results=tuple(self._workspace.discarded()))))
            case p.Watch():
                await self._watch(inquiry.runs, client)
            case p.ReadLog():
                client.send(p.encode(await asyncio.to_thread(logs.answer, self._workspace.root, inquiry)))
            case p.CheckFiles():
                files = {run_id: self._workspace.run_folder(run_id) / "model.keras" for run_id in inquiry.runs}
                client.send(p.encode(await asyncio.to_thread(file_hashes.checked, files)))
            case p.Inspect():
                if len(self._inspecting) >= MAX_INSPECTIONS:
                    raise ValueError("Many runs are being looked at already; wait until they are done.")
                inspection = self._inspect(inquiry, self._data_of(inquiry), client)
                self._inspecting.add(task := asyncio.create_task(inspection))
                task.add_done_callback(self._inspecting.discard)

    async def _watch(self, runs: tuple[str, ...], client: Client) -> None:
        paths = {run_id: self._workspace.run_folder(run_id) / "journal.jsonl" for run_id in runs}
        for run_id, path in paths.items():
            try:
                file_hashes.refuse_no_file(path)
                history, damaged = await asyncio.to_thread(journal.history, path)
                read = p.HistoryRead(run_id=run_id, history=history, damaged_lines=damaged)
            except FileNotFoundError:
                read = p.HistoryRead(run_id=run_id, history=p.History())
            except OSError as error:
                read = p.HistoryRead(run_id=run_id, history=p.History(), problem=error.strerror or str(error))
            client.send(p.encode(read))

    def _data_of(self, inquiry: p.Inspect) -> p.DataSet:
        """Return the data set of a finished run; without a run, the one that is asked for, or is in use.

        Raises:
            ValueError: there is no such run, or the data is not known here.
        """
        run_id = inquiry.run_id
        result = self._queue.result(run_id)
        if result is not None and result.is_recorded:
            raise ValueError(f"{run_id} was recorded, and there is no file of it to look into.")
        asked = result.spec.data if result else inquiry.data
        data = self._queue.data.get(asked) if asked else self._records.data
        if data is None and inquiry.data:
            raise ValueError(f"No data set of the fingerprint {inquiry.data[:40]!r} is known here.")
        if data is None or (run_id and result is None):
            raise ValueError(f"{run_id[:40]!r} is not a finished run on data that is known here.")
        return data

    async def _inspect(self, inquiry: p.Inspect, data: p.DataSet, client: Client) -> None:
        """Inspect in the background: it takes seconds, and the client's next commands do not wait for it."""
        run_id = inquiry.run_id
        file = self._workspace.run_folder(run_id) / "model.keras" if run_id else None
        try:
            result = self._queue.result(run_id)
            model = result.spec.configuration.network.model if result else None
            if model is not None and (problem := approvals.refusal(model.sha256)):
                raise ValueError(problem)
            source = sources.read(self._workspace.root, model.sha256) if model is not None else ""
            client.send(await subprocesses.inspect(inquiry, data, file, model, source))
        except (ValueError, OSError) as error:
            client.send(p.encode(p.Inspected(run_id=run_id, data=inquiry.data, problem=str(error))))
        except Exception:  # noqa: BLE001  the client is answered, whatever went wrong
            traceback.print_exc()
            client.send(p.encode(p.Inspected(run_id=run_id, data=inquiry.data, problem=DEFECT)))
