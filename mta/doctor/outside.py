"""What only the network can tell, looked at when that is asked for: is port 25 open, are we on block lists?"""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence

from mta.doctor.finding import Finding, fail, ok, skipped, warn
from mta.doctor.names import Names, NoAnswer

Greet = Callable[[str], Awaitable[str]]
"""Connects to a host's port 25 and returns its greeting. Raises OSError or TimeoutError."""

WELL_KNOWN = ("gmail.com", "outlook.com", "icloud.com")
"""Domains whose MX hosts are asked whether they hear us: one that answers suffices."""

LISTS = ("zen.spamhaus.org", "bl.spamcop.net", "b.barracudacentral.org")
"""Lists of addresses that many receivers go by."""

_NOT_AN_ANSWER = ipaddress.ip_network("127.255.255.0/24")
"""What Spamhaus answers to resolvers that it does not serve: nothing about the address."""
_LISTED = ipaddress.ip_network("127.0.0.0/8")


async def port_25(names: Names, greet: Greet, domains: Sequence[str] = WELL_KNOWN) -> list[Finding]:
    """Return whether some large receiver's port 25 can be reached: many networks block it."""
    troubles = []
    for domain in domains:
        try:
            hosts = await names.mx(domain)
            if hosts:
                greeting = await greet(hosts[0])
                return [ok(f"answers at port 25: {greeting}", hosts[0])]
            troubles.append(f"{domain}: no MX record")
        except NoAnswer as why:
            troubles.append(f"{domain}: {why}")
        except OSError as error:  # TimeoutError is one
            troubles.append(f"{hosts[0]}: {error.strerror or 'no answer in time'}")
    remedy = "many networks block outgoing port 25: ask the provider to open it, or send by a relay (see [[route]])"
    return [fail(f"no large receiver can be reached at port 25: {'; '.join(troubles)}", "", remedy)]


async def block_lists(names: Names, addresses: Sequence[str], lists: Sequence[str] = LISTS) -> list[Finding]:
    """Return on which lists some addresses are."""
    found = []
    for address in addresses:
        for zone in lists:
            try:
                answers = await names.addresses(f"{_reversed(address)}.{zone}")
            except NoAnswer as why:
                found.append(skipped(f"{zone} does not tell: {why}", address))
                continue
            found.append(_judged(address, zone, answers))
    return found or [skipped("no public address is known that mail leaves from")]


def _judged(address: str, zone: str, answers: Sequence[str]) -> Finding:
    codes = [ipaddress.ip_address(answer) for answer in answers]
    if any(code in _NOT_AN_ANSWER for code in codes):
        return skipped(f"{zone} does not answer this resolver", address, "ask through a resolver of your own")
    listed = [code for code in codes if code in _LISTED]
    if listed:
        what = f"is listed by {zone} ({', '.join(map(str, listed))})"
        return fail(what, address, f"see at {zone} why, mend the cause, and ask to be taken off")
    if codes:
        return warn(f"{zone} answers {codes[0]}, which means nothing: is it still in service?", address, "")
    return ok(f"is not listed by {zone}", address)


def _reversed(address: str) -> str:
    pointer = ipaddress.ip_address(address).reverse_pointer
    return pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
