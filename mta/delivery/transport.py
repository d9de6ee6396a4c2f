"""The transport of the real world: one attempt is a walk over a site's hosts (`walk`), within a time limit."""

import asyncio
from collections.abc import Callable

from mta.clock import Clock
from mta.delivery.addresses import Addresses
from mta.delivery.contexts import Contexts
from mta.delivery.dial import Patience
from mta.delivery.in_step import InStep
from mta.delivery.limits import TransportSettings
from mta.delivery.policies import HostPolicies, TlsPolicies
from mta.delivery.pool import Pool
from mta.delivery.resolver import Resolver
from mta.delivery.session import Session, Terms
from mta.delivery.shaky import Shaky
from mta.delivery.tls_ledger import TlsCounts, TlsLedger
from mta.delivery.tls_report import Tallies
from mta.delivery.transaction import StillOurs
from mta.delivery.walk import BatchWalk, Tools, Walk
from mta.mail.outcome import Outcome
from mta.mail.reply import Reply
from mta.queue.seams import Letter, Site


def _never(reply: Reply) -> bool:
    return False


class SmtpTransport:
    """Hands letters over by SMTP and LMTP."""

    def __init__(
        self,
        settings: TransportSettings,
        resolver: Resolver,
        clock: Clock,
        policies: HostPolicies | None = None,
        tallies: Tallies | None = None,
        is_about_us: Callable[[Reply], bool] = _never,
        metrics: TlsCounts | None = None,
    ) -> None:
        """Without `policies` there is neither DANE nor MTA-STS. `tallies` count for TLS reports, `metrics` for us.

        `is_about_us` tells of a refusal whether it speaks of our reputation, so that a fall-back relay may do better.
        """
        self._contexts = Contexts(settings.ca_file)
        self._tools = Tools(
            settings=settings,
            clock=clock,
            addresses=Addresses(resolver, settings.families, settings.allow_networks),
            policies=policies or TlsPolicies(settings.tls, clock),
            pool=Pool[Session](settings.pool, clock),
            terms=Terms(settings.ehlo_name, self._contexts, settings.timeouts, clock, InStep(clock)),
            patience=Patience(settings.timeouts.connect),
            shaky=Shaky(clock),
            ledger=TlsLedger(
                tallies if tallies is not None else Tallies(), clock, counts=tallies is not None, metrics=metrics
            ),
            is_about_us=is_about_us,
        )

    async def deliver(self, letter: Letter, site: Site, still_ours: StillOurs) -> Outcome:
        """Make one attempt: hosts in order until one answers for the recipient. Never raises for what a host does."""
        walk = Walk(self._tools, letter, still_ours)
        limit = self._tools.settings.timeouts.attempt
        try:
            async with asyncio.timeout(limit.total_seconds()) as deadline:
                return await walk.run(site)
        except TimeoutError:
            if not deadline.expired():
                raise
            return walk.out_of_time()

    async def deliver_batch(self, letter: Letter, site: Site, still_ours: StillOurs) -> tuple[Outcome | None, ...]:
        """Make one transaction for all recipients of a letter, at the first host that answers for them.

        Returns an outcome for each in their order, None for those that the host wants in the next transaction.
        """
        walk = BatchWalk(self._tools, letter, still_ours)
        limit = self._tools.settings.timeouts.attempt
        try:
            async with asyncio.timeout(limit.total_seconds()) as deadline:
                return await walk.run_all(site)
        except TimeoutError:
            if not deadline.expired():
                raise
            return walk.all_out_of_time()

    def forget_certificates(self) -> None:
        """Read the files of our certificates, and of trust anchors, again when they are next needed."""
        self._contexts.forget()

    @property
    def connections(self) -> int:
        """How many connections there are: in use, idle, or being opened."""
        return self._tools.pool.open

    async def tend(self) -> None:
        """End connections that have been idle for too long; runs until cancelled."""
        await self._tools.pool.tend()

    async def close(self) -> None:
        """End idle connections with QUIT; those in use end when they come back."""
        await self._tools.pool.close(self._tools.settings.timeouts.quit)
