"""Which domains are passed over for a site that has no room."""

from mta.queue.domains import SETTLED_AFTER, Domains


def test_domains_are_passed_over_when_every_site_of_theirs_is_closed() -> None:
    domains = Domains()
    domains.note("example.net", "mx")
    domains.note("example.org", "mx")
    # an account's own route
    domains.note("example.org", "relay")
    assert domains.only_at(["mx"]) == {"example.net"}
    assert domains.only_at(["mx", "relay"]) == {"example.net", "example.org"}
    assert domains.only_at([]) == frozenset()
    assert domains.sites_of("example.org") == {"mx", "relay"}
    assert domains.sites_of("example.com") == frozenset()


def test_a_domain_that_has_moved_is_no_longer_its_old_sites() -> None:
    domains = Domains()
    domains.note("example.net", "old")
    for _ in range(SETTLED_AFTER):
        domains.note("example.net", "new")
    assert domains.sites_of("example.net") == {"new"}
    assert domains.only_at(["old"]) == frozenset()


def test_only_so_many_are_remembered_the_latest_ones() -> None:
    domains = Domains(kept=2)
    for name in ("a.example", "b.example", "a.example", "c.example"):
        domains.note(name, f"mx.{name}")
    assert domains.sites_of("b.example") == frozenset()
    assert domains.only_at(["mx.a.example", "mx.b.example", "mx.c.example"]) == {"a.example", "c.example"}
