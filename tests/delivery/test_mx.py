"""From a domain to its hosts."""

import random

import pytest

from mta.delivery.mx import MAX_HOSTS, MxRouter, Route
from mta.delivery.providers import Providers
from mta.delivery.resolver import DnsTrouble, MxAnswer, NoSuchDomain
from mta.mail.outcome import Bounced, Deferred
from mta.queue.seams import Hold, Host, Site
from tests.delivery.world import Zone

RELAY = Host("relay.internal", 2525, trusted=True)


def _router(zone: Zone, *routes: Route, seed: int = 1) -> MxRouter:
    return MxRouter(zone, routes, frozenset({"mail.example.com"}), 25, random.Random(seed))


async def _names(zone: Zone, domain: str, seed: int = 1) -> list[str]:
    found = await _router(zone, seed=seed).route(domain)
    assert isinstance(found, Site)
    return [host.name for host in found.hosts]


@pytest.fixture
def zone() -> Zone:
    return Zone()


async def test_hosts_come_by_preference(zone: Zone) -> None:
    zone.add_mx("example.net", (20, "b.example.net"), (10, "a.example.net"), (30, "c.example.net"))
    assert await _names(zone, "example.net") == ["a.example.net", "b.example.net", "c.example.net"]


async def test_equal_hosts_come_in_random_order_within_their_preference(zone: Zone) -> None:
    zone.add_mx("example.net", *((10, f"a{n}.example.net") for n in range(4)), (20, "z.example.net"))
    orders = {tuple(await _names(zone, "example.net", seed)) for seed in range(40)}
    assert len(orders) > 10
    assert {order[-1] for order in orders} == {"z.example.net"}


async def test_domains_with_the_same_hosts_share_a_site(zone: Zone) -> None:
    for domain in ("example.net", "example.org"):
        zone.add_mx(domain, *((10, f"mx{n}.provider.example") for n in range(5)))
    zone.add_mx("example.com", (10, "mx1.provider.example"))
    sites = {
        await _router(zone, seed=seed).route(domain) for seed in range(9) for domain in ("example.net", "example.org")
    }
    assert len(sites) == 1
    (one,) = sites
    assert isinstance(one, Site)
    assert one.name == "mx0.provider.example"
    assert await _router(zone).route("example.com") != one


@pytest.mark.parametrize(
    ("answer", "kind", "code", "status"),
    [
        (MxAnswer(()), Bounced, 550, "5.4.4"),
        (NoSuchDomain("example.net"), Bounced, 550, "5.1.2"),
        (DnsTrouble("example.net: SERVFAIL"), Deferred, 451, "4.4.3"),
    ],
)
async def test_a_domain_without_hosts(
    answer: MxAnswer | Exception, kind: type[Bounced | Deferred], code: int, status: str, zone: Zone
) -> None:
    zone.mx_answers["example.net"] = answer
    zone.address_answers["example.net"] = ()
    outcome = await _router(zone).route("example.net")
    assert isinstance(outcome, kind)
    assert (outcome.reply.code, str(outcome.reply.status)) == (code, status)
    assert "example.net" in outcome.reply.text


async def test_a_null_mx_takes_no_mail_even_with_an_address(zone: Zone) -> None:
    zone.add_mx("example.net", (0, ""))
    outcome = await _router(zone).route("example.net")
    assert isinstance(outcome, Bounced)
    assert (outcome.reply.code, str(outcome.reply.status)) == (556, "5.1.10")


async def test_without_mx_records_the_domain_itself_is_the_host(zone: Zone) -> None:
    zone.mx_answers["example.net"] = MxAnswer(())
    assert await _names(zone, "example.net") == ["example.net"]


@pytest.mark.parametrize("answer", [DnsTrouble("no answer"), NoSuchDomain("example.net")])
async def test_the_domain_itself_is_no_host_unless_it_has_an_address(answer: Exception, zone: Zone) -> None:
    zone.mx_answers["example.net"] = MxAnswer(())
    zone.address_answers["example.net"] = answer
    assert isinstance(await _router(zone).route("example.net"), Deferred if isinstance(answer, DnsTrouble) else Bounced)


async def test_addresses_are_not_asked_for_when_mx_is_uncertain(zone: Zone) -> None:
    zone.mx_answers["example.net"] = DnsTrouble("SERVFAIL")
    await _router(zone).route("example.net")
    assert zone.asked == []


JUNK = [
    *("127.0.0.1", "10.0.0.256", "2001:db8::1", "::1"),
    *("", "-", "mail", "a..example.net", "a\\000b.example.net", "x" * 64 + ".net"),
]


@pytest.mark.parametrize("junk", JUNK)
async def test_mx_records_that_name_no_host_are_passed_over(junk: str, zone: Zone) -> None:
    zone.add_mx("example.net", (10, junk), (20, "mx_1.example.net"))
    assert await _names(zone, "example.net") == ["mx_1.example.net"]


async def test_a_domain_with_nothing_but_junk_bounces_and_says_why(zone: Zone) -> None:
    zone.add_mx("example.net", (10, "127.0.0.1"), (20, "a\\013b"))
    outcome = await _router(zone).route("example.net")
    assert isinstance(outcome, Bounced)
    assert str(outcome.reply.status) == "5.4.4"
    assert "127.0.0.1" in outcome.reply.text


async def test_hosts_no_better_than_ourselves_would_send_mail_in_circles(zone: Zone) -> None:
    zone.add_mx(
        "example.net", (10, "a.example.net"), (20, "mail.example.com"), (20, "b.example.net"), (30, "c.example.net")
    )
    assert await _names(zone, "example.net") == ["a.example.net"]


@pytest.mark.parametrize("records", [[(10, "mail.example.com")], [(10, "mail.example.com"), (10, "b.example.net")]])
async def test_a_domain_whose_best_host_we_are_bounces_as_a_loop(records: list[tuple[int, str]], zone: Zone) -> None:
    zone.add_mx("example.net", *records)
    outcome = await _router(zone).route("example.net")
    assert isinstance(outcome, Bounced)
    assert (outcome.reply.code, str(outcome.reply.status)) == (554, "5.4.6")


async def test_the_number_of_hosts_is_bounded_and_none_comes_twice(zone: Zone) -> None:
    zone.add_mx("example.net", (5, "mx1.example.net"), *((10, f"mx{n}.example.net") for n in range(500)))
    names = await _names(zone, "example.net")
    assert len(names) == MAX_HOSTS == len(set(names))
    assert names[0] == "mx1.example.net"


@pytest.mark.parametrize(
    ("pattern", "domain", "matches"),
    [
        ("example.net", "example.net", True),
        ("example.net", "a.example.net", False),
        ("*.example.net", "a.example.net", True),
        ("*.example.net", "a.b.example.net", True),
        ("*.example.net", "example.net", False),
        ("*.example.net", "badexample.net", False),
        ("*", "anything.test", True),
    ],
)
def test_patterns_of_routes(pattern: str, domain: str, matches: bool) -> None:
    assert Route(pattern, RELAY).matches(domain) is matches


async def test_the_first_route_that_matches_wins_over_dns(zone: Zone) -> None:
    zone.add_mx("a.example.net", (10, "mx.example.net"))
    hold = Hold("kept by a route")
    router = _router(zone, Route("b.example.net", hold), Route("*.example.net", RELAY), Route("*", hold))
    assert await router.route("a.example.net") == Site("relay.internal:2525", (RELAY,))
    assert await router.route("b.example.net") == hold
    assert await router.route("example.net") == hold


def test_that_mail_is_kept_is_known_without_asking_dns(zone: Zone) -> None:
    router = _router(zone, Route("a.example.net", RELAY), Route("*.example.net", Hold("kept by a route")))
    domains = ("a.example.net", "b.example.net", "example.org")
    assert [router.held(domain) for domain in domains] == [None, "kept by a route", None]


async def test_routes_can_be_replaced(zone: Zone) -> None:
    router = _router(zone, Route("*", RELAY))
    router.replace_routes([Route("*", Hold("stop"))])
    assert await router.route("example.net") == Hold("stop")


async def test_a_relay_with_an_ipv6_address_has_a_readable_name(zone: Zone) -> None:
    site = await _router(zone, Route("*", Host("::1", 25, trusted=True))).route("example.net")
    assert isinstance(site, Site)
    assert site.name == "[::1]:25"


GOOGLE = Providers({"google.com": "google"})


@pytest.mark.parametrize(
    ("records", "name"),
    [
        (((1, "aspmx.l.google.com"), (5, "alt1.aspmx.l.google.com")), "google"),
        (((1, "aspmx.l.google.com"), (5, "backup.example.net")), "google"),
        (((1, "aspmx.l.google.com"), (1, "mx.example.net")), "aspmx.l.google.com"),
        (((1, "mx.example.net"), (5, "aspmx.l.google.com")), "mx.example.net"),
    ],
)
async def test_a_site_of_a_known_provider_has_its_name(
    records: tuple[tuple[int, str], ...], name: str, zone: Zone
) -> None:
    zone.add_mx("example.net", *records)
    router = MxRouter(zone, (), frozenset(), 25, random.Random(1), GOOGLE)
    found = await router.route("example.net")
    assert isinstance(found, Site)
    assert found.name == name


async def test_an_account_may_have_a_way_of_its_own(zone: Zone) -> None:
    zone.add_mx("example.net", (10, "mx.example.net"))
    router = _router(zone, Route("*", RELAY, account="shop"))
    assert await router.route("example.net", "shop") == Site("relay.internal:2525", (RELAY,))
    other = await router.route("example.net", "news")
    assert isinstance(other, Site)
    assert [host.name for host in other.hosts] == ["mx.example.net"]


async def test_a_relay_may_be_for_what_the_domains_own_hosts_do_not_take(zone: Zone) -> None:
    zone.add_mx("example.net", (10, "mx.example.net"))
    router = _router(zone, Route("*", RELAY, is_fallback=True))
    found = await router.route("example.net")
    assert isinstance(found, Site)
    assert ([host.name for host in found.hosts], found.fallback) == (["mx.example.net"], (RELAY,))
    assert found != await _router(zone).route("example.net")
    assert not router.is_routed("example.net")


async def test_a_fall_back_does_not_help_a_domain_that_does_not_exist(zone: Zone) -> None:
    assert isinstance(await _router(zone, Route("*", RELAY, is_fallback=True)).route("gone.example.net"), Bounced)


async def test_of_five_hundred_hosts_the_best_twenty_are_kept(zone: Zone) -> None:
    zone.add_mx("example.net", *((n, f"mx{n}.example.net") for n in range(500)))
    assert await _names(zone, "example.net") == [f"mx{n}.example.net" for n in range(MAX_HOSTS)]


def test_the_first_route_says_whether_mail_goes_in_batches_and_where(zone: Zone) -> None:
    other = Host("other.example.com", 26, trusted=True)
    routes = (
        Route("*.example.net", RELAY, batch=True),
        Route("example.org", other, account="shop", batch=True),
        Route("example.org", other),
        Route("kept.example", Hold("kept"), batch=True),
        Route("*", RELAY, is_fallback=True, batch=True),
    )
    router = _router(zone, *routes)
    asked = [("a.example.net", ""), ("b.example.net", "shop"), ("example.org", "shop"), ("example.org", "")]
    names = [f"{RELAY.name}:{RELAY.port}"] * 2 + ["other.example.com:26", None]
    assert [router.batch_relay(*each) for each in asked] == names
    assert [router.batch_relay(each) for each in ("kept.example", "example.com")] == [None, None]
