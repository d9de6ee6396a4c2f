"""Commands about whom we write to, and who may write: suppression lists, bounces that are doubted, and standings."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from mta.accounts.standing import Standing, State
from mta.accounts.watch import WHOLE
from mta.clock import Clock
from mta.control.protocol import CommandFailed
from mta.mail.address import Mailbox
from mta.queue.dispatcher import SUSPENDED
from mta.queue.model import State as DeliveryState
from mta.queue.model import Stream
from mta.reputation.suppression import Cause, Origin, Suppression
from mta.storage.desk import Desk
from mta.storage.views import Selector

EX_NO, EX_DATAERR = 1, 65

Command = Callable[[Mapping[str, Any], str], Awaitable[Mapping[str, Any]]]


class Watch(Protocol):
    """What moves standings."""

    async def look(self) -> None:
        """Read what others wrote."""
        ...

    def standing(self, account: str, stream: str) -> Standing:
        """Return how a stream stands; with an empty stream, the account as a whole."""
        ...

    async def suspend(self, account: str, stream: str, who: str, reason: str) -> Standing:
        """Suspend on an operator's word."""
        ...

    async def reinstate(self, account: str, stream: str, who: str, reason: str) -> Standing:
        """Let it send again."""
        ...


class StandingCommands:
    """The commands by name."""

    def __init__(self, desk: Desk, watch: Watch, knows: Callable[[str], bool], clock: Clock) -> None:
        """`knows`: whether there is an account of a name."""
        self._desk = desk
        self._watch = watch
        self._knows = knows
        self._clock = clock

    def commands(self) -> Mapping[str, Command]:
        """Return them."""
        return {
            "suppression.add": self._add,
            "suppression.remove": self._remove,
            "bounces.apply": self._apply,
            "bounces.discard": self._discard,
            "account.suspend": self._suspend,
            "account.reinstate": self._reinstate,
        }

    async def _add(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        account, mailbox = self._account(arguments), _mailbox(arguments)
        now = self._clock.now()
        entry = Suppression(account, mailbox, Cause.MANUAL, Origin.OPERATOR, now, None, str(arguments["reason"])[:500])
        added = await self._desk.add_suppression(entry, who)
        return {"address": str(mailbox), "account": account, "added": added}

    async def _remove(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        # of an account that is gone, too
        account, mailbox = str(arguments["account"]), _mailbox(arguments)
        removed = await self._desk.remove_suppression(account, mailbox, who, str(arguments["reason"]))
        return {"address": str(mailbox), "account": account, "removed": removed}

    async def _apply(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        site = _site(arguments)
        return {"site": site, "bounces": await self._desk.believe(site, who, _reason(arguments))}

    async def _discard(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        site = _site(arguments)
        return {"site": site, "bounces": await self._desk.disbelieve(site, who, _reason(arguments))}

    async def _suspend(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        account, stream = self._account(arguments), _stream(arguments)
        standing = await self._watch.suspend(account, stream, who, str(arguments["reason"]))
        return _shown(standing)

    async def _reinstate(self, arguments: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        account, stream = self._account(arguments), _stream(arguments)
        await self._watch.look()
        before = self._watch.standing(account, stream)
        if before.state is not State.SUSPENDED:
            what = f"stream {stream} of account {account}" if stream else f"account {account} as a whole"
            raise CommandFailed(f"{what} is not suspended; mta reputation {account} shows what is", EX_NO)
        reason = str(arguments["reason"])
        standing = await self._watch.reinstate(account, stream, who, reason)
        held = Selector(account=account, stream=stream or None, state=DeliveryState.HELD, hold_reason=SUSPENDED)
        released = await self._desk.release(held, who, reason)
        return {**_shown(standing), "released": released.changed}

    def _account(self, arguments: Mapping[str, Any]) -> str:
        name = str(arguments["account"])
        if not self._knows(name):
            raise CommandFailed(f"there is no account {name!r}; mta account list shows all", EX_NO)
        return name


def _mailbox(arguments: Mapping[str, Any]) -> Mailbox:
    try:
        return Mailbox.parse(str(arguments["address"]), utf8=True)
    except ValueError as error:
        raise CommandFailed(str(error), EX_DATAERR) from None


def _site(arguments: Mapping[str, Any]) -> str:
    if not (site := str(arguments.get("site") or "")):
        raise CommandFailed("say which site; mta bounces withheld shows all", EX_DATAERR)
    return site


def _reason(arguments: Mapping[str, Any]) -> str:
    if not (reason := str(arguments.get("reason") or "")[:500]):
        raise CommandFailed("say why: mta audit shows it", EX_DATAERR)
    return reason


def _stream(arguments: Mapping[str, Any]) -> str:
    """Return the stream that is meant; empty for the account as a whole."""
    try:
        return Stream(name).value if (name := arguments.get("stream")) else WHOLE
    except ValueError as error:
        raise CommandFailed(str(error), EX_DATAERR) from None


def _shown(standing: Standing) -> dict[str, Any]:
    return {
        "account": standing.account,
        "stream": standing.stream or None,
        "standing": standing.state.value,
        "reason": standing.reason,
    }
