"""Whom an account may not write to, whether it may write at all, and how much: what the door asks, and how it says no.

Where suppressions and standings are kept, and that the queue asks again before each attempt, is left to others.
"""

from collections.abc import Callable
from typing import Protocol

from mta.accounts.account import Login, Rate
from mta.accounts.standing import Standing
from mta.mail import failures
from mta.mail.address import Mailbox
from mta.mail.reply import Reply
from mta.queue.model import Stream
from mta.reputation.suppression import Suppression

Suspended = Callable[[str, str], Standing | None]
"""From the names of an account and a stream to the standing that suspends it: the stream's or the whole account's."""


class Gate(Protocol):
    """What is known of accounts and addresses now."""

    async def suppressed(self, account: str, address: Mailbox) -> Suppression | None:
        """Return the entry that holds now; None when the account may write to the address.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...

    def suspended(self, account: str, stream: str) -> Standing | None:
        """Return the standing that suspends a stream of an account; None when it may send."""
        ...


class Allowance(Protocol):
    """What accounts have left of what they may do. Counted where messages are written; here it is only looked at."""

    async def remaining(self, account: str, rate: Rate) -> int:
        """Return how many deliveries the account may still cause now; never less than 0.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...


class BoundlessAllowance:
    """Nobody looks before the dot."""

    async def remaining(self, account: str, rate: Rate) -> int:
        """Return all that a rate allows."""
        return rate.count


class OpenGate:
    """Lets all pass."""

    async def suppressed(self, account: str, address: Mailbox) -> Suppression | None:
        """Return None."""
        return None

    def suspended(self, account: str, stream: str) -> Standing | None:
        """Return None."""
        return None


def may_begin(login: Login, suspended: Suspended) -> Reply | None:
    """The refusal at MAIL: whatever stream the message names, it may not be sent. None: one may."""
    if login.fixed_stream is not None:
        return may_send(login.account.name, login.fixed_stream, suspended)
    # the one that a message without a field has is named
    refusal = may_send(login.account.name, login.stream, suspended)
    if refusal is None:
        return None
    others = (stream for stream in Stream if stream != login.stream)
    return refusal if all(may_send(login.account.name, stream, suspended) for stream in others) else None


def may_send(account: str, stream: str, suspended: Suspended) -> Reply | None:
    """The refusal of a message whose stream is known, or None."""
    standing = suspended(account, stream)
    if standing is None:
        return None
    what = f"Stream {standing.stream} of account {account}" if standing.stream else f"Account {account}"
    return failures.suspended(what, standing.reason)
