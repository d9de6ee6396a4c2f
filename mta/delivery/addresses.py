"""The addresses of a host that may be connected to, in the order to try them; or why there is none."""

import ipaddress
from dataclasses import dataclass

from mta.delivery import guard
from mta.delivery.dial import interleaved
from mta.delivery.guard import Network
from mta.delivery.limits import Families
from mta.delivery.replies import told
from mta.delivery.resolver import DnsTrouble, NoSuchDomain, Resolver
from mta.mail import failures
from mta.mail.reply import Reply
from mta.queue.seams import Host

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a host's addresses."""

    usable: tuple[str, ...] = ()
    reply: Reply = failures.NO_CONNECTION
    """Why there is none."""
    is_certain: bool = False
    """There is none, and that will not change by itself."""
    why: str = ""


class Addresses:
    """Looks hosts up and judges what is found."""

    def __init__(self, resolver: Resolver, families: Families, allow_networks: tuple[Network, ...]) -> None:
        """`allow_networks` are exceptions from what `guard` refuses."""
        self._resolver = resolver
        self._families = families
        self._allow_networks = allow_networks

    async def of(self, host: Host) -> Found:
        """Return the addresses of a host."""
        if host.socket is not None:
            return Found((host.socket,))
        try:
            found = _literal(host) or await self._resolver.addresses(host.name, self._families)
        except NoSuchDomain:
            return _none(f"{host.name} does not exist", certain=True)
        except DnsTrouble as trouble:
            return Found(reply=told(failures.DNS_TROUBLE, str(trouble)))
        if not found:
            # with one family switched off here, the lack is ours
            certain = self._families in (Families.AUTO, Families.DUAL)
            return _none(f"{host.name} has no address to use", certain=certain)
        if host.trusted:
            return Found(interleaved(found))
        judged = [(address, guard.refusal(address, self._allow_networks)) for address in found]
        usable = tuple(address for address, why in judged if why is None)
        if not usable:
            listed = ", ".join(f"{address} ({why})" for address, why in judged[:_SHOWN])
            return _none(f"{host.name} has only addresses that mail is never sent to: {listed}", certain=True)
        return Found(interleaved(usable))


def _none(why: str, *, certain: bool) -> Found:
    return Found(reply=told(failures.NO_CONNECTION, why), is_certain=certain, why=why)


def _literal(host: Host) -> tuple[str, ...]:
    """Return the addresses of a relay that is named by its address, or lives on this machine."""
    if not host.trusted:
        return ()
    if host.name == "localhost":
        return ("127.0.0.1", "::1")  # RFC 6761 §6.3: not asked of DNS
    try:
        return (str(ipaddress.ip_address(host.name)),)
    except ValueError:
        return ()
