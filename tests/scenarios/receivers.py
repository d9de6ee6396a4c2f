"""Receiving hosts at addresses of their own, each with its certificate, and what became of the mail for them."""

import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mta.demo.receiver import Receiver
from tests.delivery.pki import Identity
from tests.scenarios.house import SENDER, House

_TRIES = 10
_ATTEMPTED = "('delivered', 'deferred', 'bounced')"
FAR = '["1h"]'
"""For `retry`: what is deferred in a scenario is not tried again in it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the event of an attempt says: of its last connection, where there was one."""

    type: str
    policy: str
    version: str
    verified: bool
    """The host proved itself as the policy demanded."""
    proof: str
    offered: tuple[str, ...]
    """The extensions, without their parameters."""
    said: str
    """The reply, with its codes."""
    stages: tuple[str, ...]
    """How far each connection came."""
    in_doubt: bool
    """It may have been taken."""

    @property
    def way(self) -> tuple[str, str, bool, bool]:
        """What became of it, by which policy, whether encrypted, whether proven."""
        return self.type, self.policy, bool(self.version), self.verified


@asynccontextmanager
async def open_hosts(contexts: Mapping[str, ssl.SSLContext | None]) -> AsyncIterator[dict[str, Receiver]]:
    """Start a host for each name, at an address and with a context of its own; all at one port, as MX hosts are."""
    for _ in range(_TRIES):
        async with AsyncExitStack() as stack:
            hosts: dict[str, Receiver] = {}
            port = 0
            try:
                for number, (name, context) in enumerate(contexts.items(), 2):
                    host = Receiver(f"127.0.0.{number}", port, hostname=name, tls=context)
                    hosts[name] = await stack.enter_async_context(host)
                    port = host.port
            except OSError:
                continue  # the port of the first is taken at another address
            yield hosts
            return
    raise OSError(f"no port is free at {len(contexts)} addresses")


def server_context(folder: Path, identity: Identity, *chain: Identity) -> ssl.SSLContext:
    """Return what a host speaks TLS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.write(folder / "server.pem", *chain))
    return context


def aim(house: House, hosts: Mapping[str, Receiver], resolver: str | None = None) -> None:
    """Let a server that has not started find the hosts: by their port, and where told by another resolver."""
    port = next(iter(hosts.values())).port
    text = re.sub(r"(?m)^port = .*$", f"port = {port}", house.config.read_text())
    if resolver is not None:
        text = re.sub(r"(?m)^resolvers = .*$", f'resolvers = ["{resolver}"]', text)
    house.config.write_text(text)


async def attempts(house: House, count: int) -> dict[str, Told]:
    """Wait until so many recipients were tried; return by recipient what was told last."""
    statement = f"SELECT count(DISTINCT recipient) FROM events WHERE type IN {_ATTEMPTED} AND recipient != ?"

    def come() -> bool:
        return int(house.rows(statement, SENDER)[0][0]) >= count

    await house.see(f"{count} recipients were tried", come)
    found: dict[str, Told] = {}
    for event in await house.ask("events"):
        # what is told later, by a report, was no attempt
        if event["type"] in _ATTEMPTED and "attempt" in event and event["recipient"] != SENDER:
            found[event["recipient"]] = _told(event)
    return found


def by_label(told: Mapping[str, Told]) -> dict[str, Told]:
    """Return the same by the first label of the recipients' domains."""
    return {recipient.partition("@")[2].partition(".")[0]: each for recipient, each in told.items()}


def _told(event: dict[str, Any]) -> Told:
    tries = event.get("tries", [])
    use = tries[-1].get("tls") if tries else None
    use = use or {}
    reply = event["reply"]
    return Told(
        type=event["type"],
        policy=use.get("policy", ""),
        version=use.get("version", ""),
        verified=use.get("verified", False),
        proof=use.get("proof", ""),
        offered=tuple(word.partition("=")[0] for word in use.get("offered", "").split()),
        said=f"{reply['code']} {reply['enhanced']} {reply['text']}",
        stages=tuple(one["stage"] for one in tries),
        in_doubt=event.get("detail", {}).get("in_doubt", False),
    )
