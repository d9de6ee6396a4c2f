"""What an account may do, decided on values: returns the refusal, or None. Pure; said by `dialogue` and `acceptor`."""

from collections.abc import Callable, Iterable

from mta.accounts.account import Account, Login
from mta.mail import failures
from mta.mail.address import Mailbox, ReversePath
from mta.mail.intake import Intake
from mta.mail.reply import Reply


def may_send_from(account: Account, reverse_path: ReversePath) -> Reply | None:
    """The reverse-path's domain must be the account's own; a null one is anybody's (RFC 6409 §6.1)."""
    if reverse_path.mailbox is None:
        return None
    return _owned(account, [reverse_path.mailbox])


def may_write_as(account: Account, intake: Intake) -> Reply | None:
    """Every address of From, and Sender's, must be of a domain of the account (RFC 6409 §8.1)."""
    return _owned(account, [*intake.originators, *([intake.sender] if intake.sender else [])])


def may_write_to(recipient: Mailbox, is_routed: Callable[[str], bool]) -> Reply | None:
    """A domain of a single label is only for those whom a route names."""
    if "." not in recipient.domain and not is_routed(recipient.domain):
        return failures.bad_recipient(f"{recipient.domain} is not a full domain name")
    return None


def fits(declared_size: int, max_size: int) -> Reply | None:
    """The SIZE that MAIL declared (RFC 1870 §6.1)."""
    return failures.TOO_LARGE if declared_size > max_size else None


def one_more(recipients: int, max_recipients: int) -> Reply | None:
    """One more recipient, when there are so many (RFC 5321 §4.5.3.1.10)."""
    return failures.TOO_MANY_RECIPIENTS if recipients >= max_recipients else None


def stream_of(login: Login, wanted: str | None) -> str | Reply:
    """The stream of a message: as its field says, unless the login fixed another; else the account's."""
    if login.fixed_stream is not None and wanted not in (None, login.fixed_stream):
        return failures.bad_control_field("X-MTA-Stream", f"the login fixes the stream {login.fixed_stream}")
    return wanted or login.stream


def _owned(account: Account, mailboxes: Iterable[Mailbox]) -> Reply | None:
    for mailbox in mailboxes:
        if not account.owns(mailbox.domain):
            return failures.sender_not_yours(mailbox.domain, account.name)
    return None
