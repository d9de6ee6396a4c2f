"""Hosts whose TLS failed a short while ago: the next connection does not pay for finding out again."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from mta.clock import Clock
from mta.delivery.verdict import Verdict
from mta.queue.seams import Host

FOR = timedelta(minutes=10)
"""How long it is remembered. Whoever can break a handshake on the way can break each of them: an unverified one gains
nothing by being tried every time."""
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    verdict: Verdict
    until: float


class Shaky:
    """The memory: of hosts for plaintext, and of those that fail a policy in testing mode."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[Host, str, bool], _Known] = OrderedDict()

    def remember(self, host: Host, address: str, verdict: Verdict, *, testing: bool) -> None:
        """TLS failed with an address, or (`testing`) only the certificate did, which nobody insists on."""
        self._known[host, address, testing] = _Known(verdict, self._clock.monotonic() + FOR.total_seconds())
        self._known.move_to_end((host, address, testing))
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def recall(self, host: Host, address: str, *, testing: bool) -> Verdict | None:
        """Return what happened there, if that was a short while ago."""
        known = self._known.get((host, address, testing))
        if known is None:
            return None
        if self._clock.monotonic() < known.until:
            return known.verdict
        del self._known[host, address, testing]
        return None
