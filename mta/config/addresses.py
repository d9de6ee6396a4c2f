"""How names, addresses, networks, listeners, relays and the store's place are written in the configuration.

Names become lower-case A-labels here, once. Which key takes which of these is in `settings`; whether an address can
really be bound or reached is found out by those who use it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import idna
from pydantic import PlainValidator

from mta.config.values import Secret, given, reads

TlsDemand = Literal["opportunistic", "require"]
RelayTls = Literal["opportunistic", "require", "verify"]

EXPECTED_LISTEN = 'an address and a port such as "127.0.0.1:25" or "[::]:587"'
EXPECTED_NAMESERVER = 'the address of a resolver such as "127.0.0.1" or "[::1]:5353"'
EXPECTED_NETWORK = 'a network such as "10.0.0.0/8" or "2001:db8::/32"'
EXPECTED_DOMAIN = 'a domain name such as "example.com"'
EXPECTED_RELAY = 'a relay such as "smtp://relay.example.com:25" or "smtps://user:password@relay.example.com"'

_SCHEMES: dict[str, Literal["smtp", "smtps", "lmtp"]] = {"smtp": "smtp", "smtps": "smtps", "lmtp": "lmtp"}
_PORTS = {"smtp": 25, "smtps": 465, "lmtp": 24}
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_UNFIT_IN_NAME = re.compile(r"[/\s\x00-\x1f\x7f-\x9f]")


def domain_name(text: str) -> str:
    """Return the name as lower-case A-labels (RFC 5890 §2.3.2.1), without a final dot; raises ValueError."""
    complaint = f"expected {EXPECTED_DOMAIN}, got {given(text)}"
    if len(text) > 1000:
        raise ValueError(complaint)
    try:
        name = idna.encode(text.removesuffix("."), uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise ValueError(complaint) from None
    # A last label of digits is an address in somebody's reading of it, never a name (RFC 3696 §2).
    if len(name) > 253 or name.rpartition(".")[2].isdigit():
        raise ValueError(complaint)
    return name


def domain_pattern(text: str) -> str:
    """Return a name, "*.name" (every name below it) or "*" (every name), the name as `domain_name` has it."""
    if text == "*":
        return text
    return "*." + domain_name(text[2:]) if text.startswith("*.") else domain_name(text)


def mail_address(text: str) -> str:
    """Return local-part@domain with the domain as A-labels, or "" for none; raises ValueError."""
    local, at, domain = text.rpartition("@")
    if not text:
        return ""
    if not at or not local or _UNFIT_IN_NAME.search(local.replace("/", "")) or len(local.encode()) > 64:
        raise ValueError(f'expected a mail address such as "postmaster@example.com", got {given(text)}')
    return f"{local}@{domain_name(domain)}"


def account_name(text: str) -> str:
    """Return the name if it has no "/", blank or control character; raises ValueError."""
    if not text or len(text) > 255 or _UNFIT_IN_NAME.search(text):
        raise ValueError(f'expected a name of up to 255 characters without "/", blanks and controls, got {given(text)}')
    return text


def selector(text: str) -> str:
    """Return a DKIM selector in lower case (RFC 6376 §3.1); raises ValueError."""
    if not _SELECTOR.fullmatch(text.lower()) or len(text) > 200:
        raise ValueError(f'expected a selector of letters, digits and hyphens such as "r1", got {given(text)}')
    return text.lower()


def network(text: str) -> IPv4Network | IPv6Network:
    """Return the network; one address is a network of its own; raises ValueError."""
    try:
        return ip_network(text)
    except ValueError as error:
        hint = " (the address has bits set behind the prefix)" if "host bits" in str(error) else ""
        raise ValueError(f"expected {EXPECTED_NETWORK}, got {given(text)}{hint}") from None


def _host_and_port(text: str) -> tuple[str, int | None]:
    """Split "host", "host:port", "[v6]:port" or a bare IPv6 address; raises ValueError without a text."""
    found = re.fullmatch(r"\[([0-9A-Fa-f:.]+(?:%[0-9A-Za-z._-]+)?)\](?::([0-9]{1,5}))?", text)
    if not found and text.count(":") > 1:
        return str(IPv6Address(text)), None
    found = found or re.fullmatch(r"([0-9A-Za-z.-]+)(?::([0-9]{1,5}))?", text)
    if not found or int(found[2] or 0) > 65535:
        raise ValueError
    host = "localhost" if found[1] == "localhost" else str(ip_address(found[1]))
    if text.startswith("[") != (":" in host):
        raise ValueError
    return host, None if found[2] is None else int(found[2])


@dataclass(frozen=True, slots=True)
class Listen:
    """A local address to listen on: an IP address (or "localhost") and a port; port 0 takes any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """Return what "127.0.0.1:25", "[::]:587" or "localhost:0" names; raises ValueError."""
        complaint = f"expected {EXPECTED_LISTEN}, got {given(text)}"
        try:
            host, port = _host_and_port(text)
        except ValueError:
            raise ValueError(complaint) from None
        if port is None:
            raise ValueError(f"{complaint} (the port is missing)")
        return cls(host, port)

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach it."""
        return self.host == "localhost" or ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Nameserver:
    """A DNS resolver: its IP address and port."""

    host: str
    port: int = 53

    @classmethod
    def parse(cls, text: str) -> "Nameserver":
        """Return what "9.9.9.9", "::1", "127.0.0.1:5353" or "[::1]:5353" names; raises ValueError."""
        try:
            host, port = _host_and_port(text)
            if host == "localhost" or port == 0:
                raise ValueError
        except ValueError:
            raise ValueError(f"expected {EXPECTED_NAMESERVER}, got {given(text)}") from None
        return cls(host, 53 if port is None else port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Relay:
    """A host that takes mail on: smtps means TLS from the first octet, smtp and lmtp STARTTLS as `tls` demands."""

    scheme: Literal["smtp", "smtps", "lmtp"]
    host: str
    port: int
    user: str | None = None
    password: Secret | None = None
    tls: RelayTls = "opportunistic"
    path: str | None = None
    """Of the local socket on which it listens; host and port mean nothing then."""

    @classmethod
    def parse(cls, text: str | Secret) -> "Relay":
        """Return what "smtp(s)://user:password@host:port", or lmtp, names; the ports default to 25, 465 and 24.

        Raises ValueError, which never repeats the text, since a password may stand in it. A login, and smtps, make
        `tls` "verify", or "require" where there is no name to verify: a password goes to nobody else unless a route
        says so.
        """
        url = text.reveal() if isinstance(text, Secret) else text
        complaint = f"expected {EXPECTED_RELAY} (not repeated here, it may hold a password)"
        try:
            parts = urlsplit(url)
            port, name = parts.port, parts.hostname or ""
        except ValueError:
            raise ValueError(complaint) from None
        scheme = _SCHEMES.get(parts.scheme)
        if scheme is None or port == 0 or parts.query or parts.fragment:
            raise ValueError(complaint)
        if scheme == "lmtp" and not parts.netloc and len(parts.path) > 1:
            return cls(scheme, "localhost", 0, path=unquote(parts.path))
        if parts.path not in ("", "/") or (parts.username is None) != (parts.password is None):
            raise ValueError(complaint)
        host, port = _relay_host(name, complaint), port or _PORTS[scheme]
        demand: RelayTls = "require" if _has_no_name(host) else "verify"
        if parts.username is None or parts.password is None:
            return cls(scheme, host, port, tls=demand if scheme == "smtps" else "opportunistic")
        user, password = unquote(parts.username), unquote(parts.password)
        # AUTH PLAIN separates its parts with NUL (RFC 4616 §2); no other control belongs there either.
        if not user or not password or any(ord(c) < 32 for c in user + password):
            raise ValueError(complaint)
        origin = text if isinstance(text, Secret) else Secret()
        return cls(scheme, host, port, user, Secret(password, origin.file, origin.env), demand)

    @property
    def is_loopback(self) -> bool:
        """True if what is said to it does not leave this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _has_no_name(host: str) -> bool:
    """True for an address, and for this machine: no certificate of a public authority is for these."""
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _relay_host(name: str, complaint: str) -> str:
    try:
        return str(ip_address(name))
    except ValueError:
        pass
    try:
        return domain_name(name)
    except ValueError:
        raise ValueError(complaint) from None


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """Where the queue is kept: an SQLite file, its path relative to `data_dir` unless absolute."""

    path: Path

    @classmethod
    def parse(cls, text: str) -> "StoreUrl":
        """Return what "sqlite:PATH" names; raises ValueError, which does not repeat a URL with a password in it."""
        if text.startswith(("postgresql:", "postgres:")):
            raise ValueError('PostgreSQL is not in this version; use a file, e.g. url = "sqlite:queue.db"')
        path = text.removeprefix("sqlite:")
        if path == text or not path or "\0" in path or path == ":memory:":
            raise ValueError('expected "sqlite:" and the path of a file, e.g. url = "sqlite:queue.db"')
        return cls(Path(path))

    def __str__(self) -> str:
        return f"sqlite:{self.path}"


IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


def _relay(value: object) -> Relay | None:
    if value is None or isinstance(value, Relay):
        return value
    if not isinstance(value, str | Secret):
        raise ValueError(f"expected {EXPECTED_RELAY}, got {given(value)}")
    return Relay.parse(value)


def _optional_domain(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"expected {EXPECTED_DOMAIN}, got {given(value)}")
    return domain_name(value)


def _text(parse: Callable[[str], str], expected: str) -> PlainValidator:
    """Return the validator of a text that stays a text, but normalised by `parse`."""

    def validate(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected {expected}, got {given(value)}")
        return parse(value)

    return PlainValidator(validate)


def _ip_address(text: str) -> IpAddress:
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(f'expected an address such as "192.0.2.10", got {given(text)}') from None


DomainName = Annotated[str, _text(domain_name, EXPECTED_DOMAIN)]
DomainOrNone = Annotated[str, _text(lambda text: domain_name(text) if text else "", EXPECTED_DOMAIN)]
OptionalDomain = Annotated[str | None, PlainValidator(_optional_domain)]
DomainPattern = Annotated[str, _text(domain_pattern, 'a domain name, "*.example.com" or "*"')]
MailAddress = Annotated[str, _text(mail_address, "a mail address")]
AccountName = Annotated[str, _text(account_name, "the name of an account")]
Selector = Annotated[str, _text(selector, "a selector")]
ListenField = Annotated[Listen, reads(Listen, Listen.parse, EXPECTED_LISTEN)]
NameserverField = Annotated[Nameserver, reads(Nameserver, Nameserver.parse, EXPECTED_NAMESERVER)]
Network = Annotated[IpNetwork, reads((IPv4Network, IPv6Network), network, EXPECTED_NETWORK)]
Address = Annotated[IpAddress, reads((IPv4Address, IPv6Address), _ip_address, "an address")]
RelayField = Annotated[Relay | None, PlainValidator(_relay)]
StoreUrlField = Annotated[StoreUrl, reads(StoreUrl, StoreUrl.parse, 'a text such as "sqlite:queue.db"')]
