"""Accounts, and who a login name means.

Values made from the configuration once, replaced whole on reload. Passwords are checked in `password`; what an account
may do is decided where it is done.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from msgspec import Struct

from mta.accounts.networks import IpNetwork, is_within
from mta.accounts.scram import Verifier

STREAMS = ("transactional", "bulk")
"""The names of the streams, as logins and fields write them."""

_UNFIT_IN_NAME = re.compile(r"[/\s\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in any span of that length."""

    count: int
    per: timedelta

    def __post_init__(self) -> None:
        if self.count < 1 or self.per <= timedelta():
            raise ValueError(f"{self.count} in {self.per} is not a rate")


@dataclass(frozen=True, slots=True)
class Account:
    """One who may send, and from which domains."""

    name: str
    """Any text without `/`, blanks or control characters; compared exactly."""
    domains: frozenset[str]
    """Domains it may send from, lower-case A-labels, each matched exactly."""
    password_hash: str | None = field(default=None, repr=False)
    """argon2id in PHC form; None: no login by password."""
    stream: str = "transactional"
    """What its mail is when neither the login nor a field says otherwise."""
    scram: Verifier | None = field(default=None, repr=False)
    """Of the same password as the hash; None: no login by SCRAM."""
    allow_from: tuple[IpNetwork, ...] = ()
    """Networks that may log in; none named: any."""
    rate: Rate | None = None
    """Deliveries, over a sliding window; None: no limit."""
    max_recipients: int | None = None
    """Of one message; None, here and below: as many as the listener takes."""
    max_message_size: int | None = None
    """Octets of content."""
    max_connections: int | None = None
    """Logged in at the same time."""
    first_time_recipients_per_day: int | None = None
    """None: what holds for all accounts."""
    pool: str = "main"
    """The sources that its mail leaves from."""
    may_waive_tls: bool = False
    """Its `TLS-Required: No` is obeyed (RFC 8689 §4.2.2)."""
    weight: int = 1
    """Its part of the turns beside other accounts."""

    def __post_init__(self) -> None:
        if not self.name or _UNFIT_IN_NAME.search(self.name):
            raise ValueError(f"{self.name!r} is not an account name: no blanks, control characters or slashes")
        if self.stream not in STREAMS:
            raise ValueError(f"{self.stream!r} is not a stream: {' or '.join(STREAMS)}")

    def owns(self, domain: str) -> bool:
        """Return whether the account may send from a domain, given as lower-case A-labels."""
        return domain in self.domains

    def lets_in(self, address: str) -> bool:
        """Return whether a client may log in from an address."""
        return not self.allow_from or is_within(address, self.allow_from)


class Login(Struct, frozen=True):
    """Whom a login name means: an account, and the stream if the name fixes it."""

    account: Account
    fixed_stream: str | None = None

    @property
    def stream(self) -> str:
        """The stream of mail that does not name one itself."""
        return self.fixed_stream or self.account.stream


class Directory:
    """All accounts, by name. Does not change: a reload makes another."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        found: dict[str, Account] = {}
        for account in accounts:
            if account.name in found:
                raise ValueError(f"there are two accounts of the name {account.name!r}")
            found[account.name] = account
        self._accounts: Mapping[str, Account] = MappingProxyType(found)
        self.decoy = next((account.password_hash for account in found.values() if account.password_hash), None)
        """Some account's hash: work for an unknown name should cost what a known one costs."""
        self.scram_model = _model([account for account in found.values() if account.password_hash or account.scram])
        """A verifier whose looks those of unknown names take on; None where SCRAM is for nobody.

        It is for all who can log in, or for none: a client that is offered SCRAM does not fall back to PLAIN.
        """

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def get(self, name: str) -> Account | None:
        """Return the account of a name, or None."""
        return self._accounts.get(name)

    def log_in(self, login: str) -> Login | None:
        """Return whom `shop`, `shop/bulk` or `shop/transactional` means; None when nobody."""
        name, slash, stream = login.partition("/")
        account = self._accounts.get(name)
        if account is None or (slash and stream not in STREAMS):
            return None
        return Login(account, stream if slash else None)


def _model(able: Sequence[Account]) -> Verifier | None:
    verifiers = [account.scram for account in able if account.scram is not None]
    return verifiers[0] if verifiers and len(verifiers) == len(able) else None
