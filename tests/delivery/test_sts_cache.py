"""Which policy applies, when, and that nobody can take it away."""

import asyncio
import random
from datetime import timedelta

import pytest

from mta.delivery.mta_sts import KeptPolicy, Mode, Policy
from mta.delivery.resolver import DnsTrouble, NoSuchDomain
from mta.delivery.sts_cache import LOOK_AGAIN, REFRESH, FetchFailed, Sts, StsPolicies
from mta.delivery.tls_failure import TlsFailure
from mta.errors import StoreUnavailable
from tests.fakes.clock import FakeClock

WEEK = timedelta(days=7)
ENFORCE = Policy(Mode.ENFORCE, ("mx.example.com",), WEEK)
TESTING = Policy(Mode.TESTING, ("mx.example.com",), WEEK)
NONE = Policy(Mode.NONE, (), WEEK)
DOMAIN = "example.com"
FAILED = FetchFailed(TlsFailure.STS_POLICY_FETCH_ERROR, "refused")


class Store:
    """Keeps policies in memory, as JSON, for that is what a real one would keep."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.broken = False

    async def all(self) -> tuple[KeptPolicy, ...]:
        return tuple(map(KeptPolicy.from_json, self.kept.values()))

    async def get(self, domain: str) -> KeptPolicy | None:
        text = self.kept.get(domain)
        return None if text is None else KeptPolicy.from_json(text)

    async def put(self, kept: KeptPolicy) -> None:
        if self.broken:
            raise StoreUnavailable("no disk")
        self.kept[kept.domain] = kept.to_json()


class World:
    """A domain's name servers and its policy host."""

    def __init__(self, store: Store | None = None, clock: FakeClock | None = None) -> None:
        self.txt: tuple[str, ...] | Exception = ("v=STSv1; id=1;",)
        self.policy: Policy | FetchFailed = ENFORCE
        self.looked = 0
        self.fetched = 0
        self.store = store or Store()
        self.clock = clock or FakeClock()
        self.policies = StsPolicies(self.store, self._ask, self, self.clock, random.Random(1))

    async def _ask(self, name: str) -> tuple[str, ...]:
        assert name == f"_mta-sts.{DOMAIN}"
        self.looked += 1
        if isinstance(self.txt, Exception):
            raise self.txt
        return self.txt

    async def fetch(self, domain: str) -> Policy:
        assert domain == DOMAIN
        self.fetched += 1
        await asyncio.sleep(0)
        if isinstance(self.policy, FetchFailed):
            raise self.policy
        return self.policy

    async def ask_later(self, span: timedelta = LOOK_AGAIN) -> Sts:
        """Ask after a time."""
        self.clock.advance(span)
        return await self.policies.of(DOMAIN)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_policy_is_found_and_kept(world: World) -> None:
    assert await world.policies.of(DOMAIN) == Sts(ENFORCE)
    assert await world.store.get(DOMAIN)


@pytest.mark.parametrize("txt", [(), NoSuchDomain("x"), ("v=STSv1; id=1;", "v=STSv1; id=2;"), ("v=STSv1;",)])
async def test_without_a_record_there_is_no_policy(world: World, txt: tuple[str, ...] | Exception) -> None:
    world.txt = txt
    assert await world.policies.of(DOMAIN) == Sts()
    assert world.fetched == 0


async def test_a_domain_never_seen_with_dns_in_trouble_has_no_policy(world: World) -> None:
    world.txt = DnsTrouble("SERVFAIL")
    assert await world.policies.of(DOMAIN) == Sts(why="SERVFAIL")


async def test_a_policy_that_cannot_be_got_is_told_and_tried_again_later(world: World) -> None:
    world.policy = FAILED
    told = Sts(None, TlsFailure.STS_POLICY_FETCH_ERROR, "refused")
    assert [await world.policies.of(DOMAIN) for _ in range(3)] == [told] * 3
    assert world.fetched == 1
    world.policy = ENFORCE
    assert await world.ask_later() == Sts(ENFORCE)


async def test_dns_is_not_asked_for_each_delivery(world: World) -> None:
    for _ in range(5):
        await world.policies.of(DOMAIN)
    assert (world.looked, world.fetched) == (1, 1)


async def test_deliveries_at_once_share_one_look(world: World) -> None:
    assert set(await asyncio.gather(*(world.policies.of(DOMAIN) for _ in range(5)))) == {Sts(ENFORCE)}
    assert (world.looked, world.fetched) == (1, 1)


async def test_an_unchanged_id_means_an_unchanged_policy(world: World) -> None:
    await world.policies.of(DOMAIN)
    world.policy = NONE
    assert await world.ask_later() == Sts(ENFORCE)
    assert (world.looked, world.fetched) == (2, 1)


@pytest.mark.parametrize("policy", [TESTING, NONE])
async def test_a_new_id_brings_the_new_policy(world: World, policy: Policy) -> None:
    await world.policies.of(DOMAIN)
    world.txt, world.policy = ("v=STSv1; id=2;",), policy
    assert await world.ask_later() == Sts(policy)


@pytest.mark.parametrize("txt", [(), NoSuchDomain("x"), DnsTrouble("SERVFAIL"), ("v=STSv1; junk",)])
async def test_silencing_dns_takes_no_kept_policy_away(world: World, txt: tuple[str, ...] | Exception) -> None:
    await world.policies.of(DOMAIN)
    world.txt = txt
    assert (await world.ask_later()).policy == ENFORCE
    assert (await world.ask_later(WEEK - 2 * LOOK_AGAIN)).policy == ENFORCE


async def test_a_new_id_whose_policy_cannot_be_got_leaves_the_old_one(world: World) -> None:
    await world.policies.of(DOMAIN)
    world.txt, world.policy = ("v=STSv1; id=2;",), FAILED
    assert await world.ask_later() == Sts(ENFORCE, TlsFailure.STS_POLICY_FETCH_ERROR, "refused")


async def test_a_policy_ends_with_its_time(world: World) -> None:
    await world.policies.of(DOMAIN)
    world.txt = ()
    assert await world.ask_later(WEEK) == Sts()


async def test_an_expired_policy_is_got_again_though_its_id_is_the_same(world: World) -> None:
    await world.policies.of(DOMAIN)
    assert await world.ask_later(WEEK) == Sts(ENFORCE)
    assert world.fetched == 2


async def test_a_policy_for_no_time_applies_while_it_is_looked_at(world: World) -> None:
    world.policy = Policy(Mode.ENFORCE, ("mx.example.com",), timedelta(0))
    assert (await world.policies.of(DOMAIN)).policy == world.policy
    world.policy = TESTING
    assert (await world.ask_later()).policy == TESTING


async def test_a_restart_forgets_nothing(world: World) -> None:
    await world.policies.of(DOMAIN)
    again = World(world.store, world.clock)
    again.txt, again.policy = DnsTrouble("SERVFAIL"), FAILED
    await again.policies.load()
    assert (await again.policies.of(DOMAIN)).policy == ENFORCE


async def test_what_another_worker_got_is_read_from_the_store(world: World) -> None:
    other = World(world.store, world.clock)
    await other.policies.of(DOMAIN)
    world.txt = DnsTrouble("SERVFAIL")
    assert (await world.policies.of(DOMAIN)).policy == ENFORCE


async def test_what_expired_in_the_store_says_nothing(world: World) -> None:
    await world.policies.of(DOMAIN)
    again = World(world.store, world.clock)
    again.txt = ()
    await again.policies.load()
    assert await again.ask_later(WEEK) == Sts()


async def test_a_refresh_prolongs_the_time_before_it_ends(world: World) -> None:
    await world.policies.of(DOMAIN)
    world.clock.advance(REFRESH)
    await world.policies.refresh()
    world.txt, world.policy = DnsTrouble("SERVFAIL"), FAILED
    assert (await world.ask_later(WEEK - LOOK_AGAIN)).policy == ENFORCE


async def test_a_refresh_takes_what_changed_under_the_same_id(world: World) -> None:
    await world.policies.of(DOMAIN)
    world.policy = TESTING
    world.clock.advance(REFRESH - LOOK_AGAIN / 2)
    assert (await world.policies.of(DOMAIN)).policy == ENFORCE
    world.clock.advance(LOOK_AGAIN / 2)
    await world.policies.refresh()
    assert (await world.policies.of(DOMAIN)).policy == TESTING


async def test_nothing_is_refreshed_before_its_time(world: World) -> None:
    await world.policies.of(DOMAIN)
    world.clock.advance(REFRESH / 2)
    await world.policies.refresh()
    assert world.fetched == 1


async def test_a_refresh_that_fails_is_put_off_and_takes_nothing_away(world: World) -> None:
    await world.policies.of(DOMAIN)
    world.policy = FAILED
    world.clock.advance(REFRESH)
    await world.policies.refresh()
    await world.policies.refresh()
    assert world.fetched == 2
    assert (await world.policies.of(DOMAIN)).policy == ENFORCE


async def test_a_store_that_cannot_write_takes_no_policy_away(world: World) -> None:
    world.store.broken = True
    assert (await world.policies.of(DOMAIN)).policy == ENFORCE
    assert (await world.ask_later()).policy == ENFORCE
    assert world.fetched == 1
