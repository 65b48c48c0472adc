"""The screen's connection to the engine: a link that is renewed whenever it is lost."""

from collections.abc import Callable, Sequence
from pathlib import Path

from engine import protocol as p
from svhn_tui.client.bridge import Link, LinkLost, ReconnectPause
from svhn_tui.client.remote_host import Remote


class Connection:
    """Holds a link; `receive` is called with batches of events, in the order of arrival."""

    def __init__(
        self,
        workspace: Path,
        openings: Sequence[p.OpenData],
        remote: Remote | None,
        receive: Callable[[tuple[p.AnyEvent, ...]], None],
    ) -> None:
        self._workspace, self._openings, self._remote = workspace, openings, remote
        self._receive = receive
        self._link: Link | None = None
        self._pause = ReconnectPause()

    async def hold(self) -> None:
        """Hold a link to the engine while the program runs; a loss is reported as an event."""
        while True:
            try:
                async with Link(self._workspace, remote=self._remote) as link:
                    self._link = link
                    for opening in self._openings:
                        await link.send(opening)
                    await link.send(p.Begin())
                    async for batch in link.events():
                        self._pause.renew()
                        self._receive(batch)
            except LinkLost as error:
                is_new = self._pause.is_news(str(error))
                text = p.Noticed(text=f"{error} It is tried again; keys still work.", severity="error")
                self._receive((*((text,) if is_new else ()), p.HostEnded(reason=str(error))))
            self._link = None
            await self._pause.wait()

    async def send(self, command: p.AnyCommand) -> bool:
        """Send a command and return True; without a link, connect at once, drop the command and return False."""
        if self._link is None:
            self._pause.end()
            return False
        await self._link.send(command)
        return True
