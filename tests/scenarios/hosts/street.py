"""Hosts side by side, each at an address of its own and all at one port, as MX hosts are; and a server that knows them.

Addresses of the street are all that the server may connect to on loopback, but for the one of its own sink.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mta.demo.dns import NameServer
from tests.delivery.peer import Peer
from tests.scenarios.hosts.footprint import Footprint
from tests.scenarios.house import House, open_house
from tests.scenarios.receivers import FAR, Told, attempts
from tests.scenarios.web import get

NETWORK = "127.77.0.0/16"
"""Where the street is."""
OUTSIDE = "127.78.0.1"
"""Also loopback, and not of the street."""
_TRIES = 10
_UNDER_WAY = "SELECT count(*) FROM deliveries WHERE state = 'active'"
_RECORD = re.compile(r"(?m)^(port|allow_networks) = .*$")

Open = Callable[[str, int], Peer]
"""Makes the host that is to listen at an address and port."""


def address(number: int) -> str:
    """Return the address of a house of the street."""
    return f"127.77.{number // 250 + 1}.{number % 250 + 1}"


@dataclass
class Street:
    """A server, and hosts beside it."""

    house: House
    hosts: list[Peer] = field(default_factory=list)
    port: int = 0

    async def send(self, recipients: Sequence[str], content: bytes | None = None) -> None:
        """Submit a message to all of them at once."""
        await self.house.submit(*recipients, content=content)

    async def left_alone(self, descriptors: Counter[str]) -> None:
        """Wait until nothing is attempted any more, no host connected to, and no descriptor open that is not here."""
        footprint = Footprint(self.house.server.pid)
        await self.house.see("nothing is attempted", lambda: self.house.rows(_UNDER_WAY) == [(0,)])
        await self.house.until(self._connections, ["0.0"])
        await self.house.see("no descriptor is open that was not", lambda: footprint.descriptors() <= descriptors)

    async def _connections(self) -> list[str]:
        """Return what its metrics say of connections to hosts."""
        scrape = await get(self.house, "/metrics")
        return re.findall(r'(?m)^mta_connections\{role="delivery"\} (.+)$', scrape.content.decode())

    async def told(self, count: int) -> dict[str, Told]:
        """Wait until so many recipients were tried; return by recipient what was told."""
        return await attempts(self.house, count)


@asynccontextmanager
async def open_street(
    folder: Path,
    hosts: Sequence[tuple[str, Open]],
    *,
    timeouts: str = "",
    names: NameServer | None = None,
    routes: Callable[[int], str] = lambda port: "",
) -> AsyncIterator[Street]:
    """Open it: hosts at their addresses, and a server which tries each delivery once.

    `timeouts` is their table in the configuration, `names` a name server with a will of its own; `routes` makes
    `[[route]]` tables, given the port.
    """
    async with open_house(folder, start=False, retry=FAR, names=names) as house, AsyncExitStack() as stack:
        opened = await _open_all(stack, hosts)
        street = Street(house, opened, opened[0].port)
        text = house.config.read_text()
        text = _RECORD.sub(lambda found: _line(found[1], street.port), text)
        if timeouts:
            text = text.replace("[delivery]\n", f"[delivery]\ntimeouts = {timeouts}\n")
        # notifications go to the sink, whose port is another
        sink = f'\n[[route]]\ndomain = "example.com"\nrelay = "smtp://{house.sink.address}"\n'
        house.config.write_text(text + sink + routes(street.port))
        async with house.server:
            yield street


def _line(key: str, port: int) -> str:
    return f"port = {port}" if key == "port" else f'allow_networks = ["127.0.0.1/32", "{NETWORK}"]'


async def _open_all(stack: AsyncExitStack, hosts: Sequence[tuple[str, Open]]) -> list[Peer]:
    for _ in range(_TRIES):
        async with AsyncExitStack() as attempt:
            opened: list[Peer] = []
            port = 0
            try:
                for place, make in hosts:
                    host = await attempt.enter_async_context(make(place, port))
                    opened.append(host)
                    port = host.port
            except OSError:
                continue  # the port of the first is taken at another address
            stack.push_async_callback(attempt.pop_all().aclose)
            return opened
    raise OSError(f"no port is free at {len(hosts)} addresses")
