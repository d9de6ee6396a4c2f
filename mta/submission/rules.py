"""What an account may do, decided on values: returns the refusal, or None. Pure; said by `dialogue` and `acceptor`."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta

from mta.accounts.account import Account, Login, Rate
from mta.mail import failures
from mta.mail.address import Mailbox, ReversePath
from mta.mail.intake import Intake
from mta.mail.reply import Reply
from mta.submission.parameters import MailArguments

_MAX_INTERVAL = 999_999_999
_SPANS = {timedelta(seconds=1): "second", timedelta(minutes=1): "minute", timedelta(hours=1): "hour"}


def may_send_from(account: Account, reverse_path: ReversePath) -> Reply | None:
    """The reverse-path's domain must be the account's own; a null one is anybody's (RFC 6409 §6.1)."""
    if reverse_path.mailbox is None:
        return None
    return _owned(account, [reverse_path.mailbox])


def may_write_as(account: Account, intake: Intake) -> Reply | None:
    """Every address of From, and Sender's, and those who resent, must be of a domain of the account (RFC 6409 §8.1)."""
    return _owned(account, intake.writers)


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


def least(limit: int, own: int | None) -> int:
    """The limit that holds for an account: the listener's, or its own where that is smaller."""
    return limit if own is None else min(limit, own)


def in_words(rate: Rate) -> str:
    """Return a rate as clients read it: "10000 recipients an hour"."""
    span = _SPANS.get(rate.per) or f"{rate.per / timedelta(days=1):g} days"
    return f"{rate.count} recipients per {'day' if span == '1 days' else span}"


def after(at: datetime | None) -> str:
    """Return from when on something may be tried again, as clients read it."""
    return "later" if at is None else f"after {date_time(at)}"


def max_hold(setting: timedelta) -> timedelta:
    """The longest time a message may be held: whole seconds, in nine digits (RFC 4865 §3)."""
    return timedelta(seconds=min(int(setting.total_seconds()), _MAX_INTERVAL))


def release_of(arguments: MailArguments, now: datetime, longest: timedelta) -> datetime | Reply | None:
    """When the message may be sent at the earliest; None: now (RFC 4865 §4).

    A time that is over is taken for a mistake of the client's clock, as is one that is too far away.
    """
    if arguments.hold_for is not None:
        if arguments.hold_for > longest:
            return failures.bad_release(f"HOLDFOR may be {longest // timedelta(seconds=1)} at most")
        return now + arguments.hold_for
    until = arguments.hold_until
    if until is None:
        return None
    if until <= now:
        return failures.bad_release(f"HOLDUNTIL is over; here it is {date_time(now)}")
    if until > now + longest:
        return failures.bad_release(f"HOLDUNTIL may be {date_time(now + longest)} at most")
    return until


def date_time(at: datetime) -> str:
    """Return a time of UTC as clients read it, to the second (RFC 3339 §5.6)."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def stream_of(login: Login, wanted: str | None) -> str | Reply:
    """The stream of a message: as its field says, unless the login fixed another; else the account's."""
    if login.fixed_stream is not None and wanted not in (None, login.fixed_stream):
        return failures.bad_control_field("X-MTA-Stream", f"the login fixes the stream {login.fixed_stream}")
    return wanted or login.stream


def may_use_pool(wanted: str | None, pools: Collection[str]) -> Reply | None:
    """The pool that a message names must be one of those there are; where none is set up, a name does no harm."""
    if wanted is None or not pools or wanted in pools:
        return None
    return failures.bad_control_field("X-MTA-Pool", f"there is no pool {wanted}")


def may_track(account: Account, wanted: Collection[str]) -> Reply | None:
    """Recipients are tracked only where the account has switched it on, which none can yet.

    Not to track would be safe, but the application would wait for events that never come.
    """
    if not wanted:
        return None
    what = " and ".join(sorted(wanted))
    return failures.bad_control_field("X-MTA-Track", f"account {account.name} has not switched on tracking of {what}")


def _owned(account: Account, mailboxes: Iterable[Mailbox]) -> Reply | None:
    for mailbox in mailboxes:
        if not account.owns(mailbox.domain):
            return failures.sender_not_yours(mailbox.domain, account.name)
    return None
