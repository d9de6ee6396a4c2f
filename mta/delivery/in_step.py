"""Hosts whose replies are in step with our commands: one to each, no more. Only to them does a small message go in the
flight of its envelope, where nothing but the number of the replies tells which of them is for the message.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from mta.clock import Clock
from mta.queue.seams import Host

FOR = timedelta(hours=1)
"""How long either is remembered: that a host is in step, and that it is not."""
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    in_step: bool
    until: float


class InStep:
    """The memory, of one process. A host is told apart by its address: behind each there may be other software."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[Host, str], _Known] = OrderedDict()

    def holds(self, host: Host, address: str) -> bool:
        """Whether it was in step a short while ago, and never out of it since."""
        known = self._recall(host, address)
        return known is not None and known.in_step

    def prove(self, host: Host, address: str) -> None:
        """A whole transaction was answered in step. Who was out of it is not believed again so soon."""
        known = self._recall(host, address)
        if known is None or known.in_step:
            self._remember(host, address, in_step=True)

    def forget(self, host: Host, address: str) -> None:
        """It said more than it was asked for."""
        self._remember(host, address, in_step=False)

    def _recall(self, host: Host, address: str) -> _Known | None:
        known = self._known.get((host, address))
        if known is None or self._clock.monotonic() < known.until:
            return known
        del self._known[host, address]
        return None

    def _remember(self, host: Host, address: str, *, in_step: bool) -> None:
        self._known[host, address] = _Known(in_step, self._clock.monotonic() + FOR.total_seconds())
        self._known.move_to_end((host, address))
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
