"""Accounts, and who a login name means.

Values made from the configuration once, replaced whole on reload. Passwords are checked in `password`; what an account
may do is decided where it is done.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

STREAMS = ("transactional", "bulk")
"""The names of the streams, as logins and fields write them."""

_UNFIT_IN_NAME = re.compile(r"[/\s\x00-\x1f\x7f-\x9f]")


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

    def __post_init__(self) -> None:
        if not self.name or _UNFIT_IN_NAME.search(self.name):
            raise ValueError(f"{self.name!r} is not an account name: no blanks, control characters or slashes")
        if self.stream not in STREAMS:
            raise ValueError(f"{self.stream!r} is not a stream: {' or '.join(STREAMS)}")

    def owns(self, domain: str) -> bool:
        """Return whether the account may send from a domain, given as lower-case A-labels."""
        return domain in self.domains


@dataclass(frozen=True, slots=True)
class Login:
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

    @property
    def decoy(self) -> str | None:
        """Some account's hash: work for an unknown name should cost what a known one costs."""
        return next((account.password_hash for account in self._accounts.values() if account.password_hash), None)
