"""The few exceptions that cross packages. What the remote side does is a value, never one of these."""

from dataclasses import dataclass
from datetime import datetime
from typing import final


class MtaError(Exception):
    """The root of every exception this program raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in the configuration: where it stands, what it is, and what to do about it.

    `file` is the path as the operator gave it, `line` counts from 1 (None: the file as a whole), `key` names the
    setting ("queue.retry", 'account "shop": rate'; empty when the reason names it), `remedy` may be empty.
    """

    file: str
    line: int | None
    key: str
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = f"{self.key}: " if self.key else ""
        advice = f"; {self.remedy}" if self.remedy else ""
        return (f"{place}: " if place else "") + f"{subject}{self.reason}{advice}"


@final
class ConfigError(MtaError):
    """The operator's configuration cannot be used; holds all problems that were found, not only the first."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems: tuple[Problem, ...] = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class StoreUnavailable(MtaError):
    """The store cannot read or write now. At the door it means 451, in the dispatcher a pause."""


class StoreFull(StoreUnavailable):
    """The store has no space: disk or inodes. At the door it means 452."""


@final
class StoreInDoubt(StoreUnavailable):
    """The answer of a COMMIT was lost: what was to be written may be there or not, until somebody has looked.

    `value` is what its unit returned.
    """

    def __init__(self, told: str, value: object) -> None:
        super().__init__(told)
        self.value = value


class UsedUp(MtaError):
    """An account has used what it is allowed, for now: nothing of the message was written.

    `again` is from when on there is room for it, if nothing else is accepted until then; None: it is more than is ever
    allowed at once.
    """

    def __init__(self, told: str, again: datetime | None) -> None:
        super().__init__(told)
        self.again = again


@final
class OverRate(UsedUp):
    """A message has more recipients than the account may still write to in a span. At the door it means 451."""


@final
class FirstTimeUsedUp(UsedUp):
    """A message has more recipients that the account never wrote to than it may have in a day. At the door: 451."""


class Damaged(MtaError):
    """A message's octets are not those that were accepted: it is held and reported, never sent."""
