"""What follows failed logins: a growing delay, then a lock, for one client and never for a whole account.

Failures are counted for each pair of an account's name and a client's network, and for each network over all names,
within a sliding window. A locked client is told to try later, whatever it sends: its password is not looked at, so
that it learns nothing while it is locked, and what it tries is not counted, so that the lock ends a window after the
failures that made it. Strangers never lock an account for others: another network has counts of its own.

Within a network one name counts for half of the attempts at most. A program with an old password that tries without end
so locks itself out, but not the other programs behind the same address; whoever tries several names is soon locked for
all of them. Kept in memory, by each worker for itself.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from mta.accounts.networks import network_of
from mta.clock import Clock

_MAX_NETWORKS = 10_000
_FIRST_DELAY = 1.0  # seconds, before the second refusal; the first mistake is answered at once


@dataclass(frozen=True, slots=True)
class LockoutSettings:
    """How many mistakes a client may make."""

    attempts: int = 10
    """Failures within the window, with the last of which the lock begins."""
    window: timedelta = timedelta(minutes=10)
    delay_max: timedelta = timedelta(seconds=30)
    """The longest that a refusal is kept back."""
    waiting: int = 100
    """Refusals kept back at the same time, over all clients."""


class Lockout:
    """Counts failures. Nothing of a name is kept but a digest: people type passwords where names belong."""

    def __init__(self, settings: LockoutSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._networks: OrderedDict[str, dict[bytes, list[float]]] = OrderedDict()

    def replace(self, settings: LockoutSettings) -> None:
        """Judge by other settings from now on; what was counted stays counted."""
        self._settings = settings

    def is_locked(self, login: str, address: str) -> bool:
        """Return whether what a client says under this name is not to be looked at."""
        names = self._recent(network_of(address))
        share = (self._settings.attempts + 1) // 2
        in_all = sum(min(len(times), share) for times in names.values())
        return max(in_all, len(names.get(_key(login), ()))) >= self._settings.attempts

    def failed(self, login: str, address: str) -> timedelta:
        """Count a failure; return for how long its refusal is to be kept back."""
        network = network_of(address)
        names = self._recent(network)
        times = names.setdefault(_key(login), [])
        times.append(self._clock.monotonic())
        self._networks[network] = names
        self._networks.move_to_end(network)
        if len(self._networks) > _MAX_NETWORKS:
            self._networks.popitem(last=False)
        seconds = _FIRST_DELAY * 2 ** min(len(times) - 2, 30) if len(times) > 1 else 0.0
        return min(timedelta(seconds=seconds), self._settings.delay_max)

    def succeeded(self, login: str, address: str) -> None:
        """Forget the failures of a name in this network; those of other names stay."""
        network = network_of(address)
        names = self._networks.get(network, {})
        names.pop(_key(login), None)
        if not names:
            self._networks.pop(network, None)

    def __len__(self) -> int:
        """Networks that are kept in mind."""
        return len(self._networks)

    def _recent(self, network: str) -> dict[bytes, list[float]]:
        """Return a network's failures within the window, and forget the others."""
        since = self._clock.monotonic() - self._settings.window.total_seconds()
        names = {
            name: recent
            for name, times in self._networks.get(network, {}).items()
            if (recent := [time for time in times if time > since])
        }
        if names:
            self._networks[network] = names
        else:
            self._networks.pop(network, None)
        return names


def _key(login: str) -> bytes:
    # `shop` and `shop/bulk` have one password
    name = login.partition("/")[0]
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
