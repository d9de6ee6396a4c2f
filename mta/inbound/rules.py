"""Who is let in: which recipients are ours, proved where a token proves it. Pure; said by `dialogue`.

A reverse-path is nobody's business here: nothing is ever sent to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mta.mail import failures
from mta.mail.address import ForwardPath, Mailbox, parse_domain
from mta.mail.reply import Reply
from mta.mail.token import GroupPath, ReturnPaths, is_shared


class Desk(StrEnum):
    """Where letters from people go (RFC 2142 §4, §5)."""

    POSTMASTER = "postmaster"
    ABUSE = "abuse"


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """A return path of ours; its token was proved."""

    delivery_id: str


@dataclass(frozen=True, slots=True)
class SharedPath:
    """A return path of ours that several deliveries have; its token was proved."""

    path: GroupPath


@dataclass(frozen=True, slots=True)
class Feedback:
    """The address that feedback reports come to."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Somebody writes to a desk."""

    desk: Desk


Addressee = ReturnPath | SharedPath | Feedback | Letter


class Doorman:
    """Knows our recipients. Everybody else is told to go elsewhere, whatever the notation: nothing is relayed."""

    def __init__(
        self,
        return_paths: ReturnPaths,
        return_path_domains: Callable[[], frozenset[str]],
        feedback_address: Mailbox,
        hostname: str,
    ) -> None:
        """`return_path_domains`: those in force now, as lower-case A-labels."""
        self._return_paths = return_paths
        self._return_path_domains = return_path_domains
        self._feedback_address = feedback_address
        self._hostname = parse_domain(hostname)

    def replace_keys(self, return_paths: ReturnPaths) -> None:
        """Prove tokens with another keyring from now on."""
        self._return_paths = return_paths

    def replace_feedback_address(self, address: Mailbox) -> None:
        """Take feedback reports at another address from now on."""
        self._feedback_address = address

    def admit(self, path: str, *, utf8: bool) -> Addressee | Reply:
        """Return whom a forward-path in brackets means, or the refusal. `utf8`: MAIL said SMTPUTF8."""
        # with no domain it is the one postmaster that every server has (RFC 5321 §4.1.1.3)
        if path.lower() == f"<{Desk.POSTMASTER}>":
            return Letter(Desk.POSTMASTER)
        try:
            mailbox = ForwardPath.parse(path, utf8=utf8).mailbox
        except ValueError as error:
            return failures.bad_recipient(str(error))
        # our own mailboxes are ours to compare: people and hosts write them in any case
        if (name := _folded(mailbox)) == _folded(self._feedback_address):
            return Feedback()
        return_path_domains = self._return_path_domains()
        if mailbox.domain not in return_path_domains | {self._hostname}:
            return failures.RELAY_DENIED
        if name.local_part in tuple(Desk):
            return Letter(Desk(name.local_part))
        if mailbox.domain not in return_path_domains:
            return failures.NO_SUCH_RECIPIENT
        try:
            if is_shared(name.local_part):
                return SharedPath(self._return_paths.prove_shared(mailbox.local_part))
            return ReturnPath(self._return_paths.prove(mailbox.local_part))
        except ValueError:
            return failures.NO_SUCH_RECIPIENT


def _folded(mailbox: Mailbox) -> Mailbox:
    # only ASCII is folded: other letters that become ASCII ones are other letters
    return Mailbox(mailbox.local_part.lower(), mailbox.domain) if mailbox.is_ascii else mailbox
