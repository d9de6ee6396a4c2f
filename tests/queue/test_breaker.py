"""The breaker: it opens on false mass bounces, not on a bad list, and closes by itself or by the operator's word."""

from mta.queue.breaker import RECENT, Breaker, Opened, Result

SITE = "mx.example.net"


def result(number: int, *, hard: bool, account: str = "shop", site: str = SITE) -> Result:
    return Result(site, account, f"u{number}@example.net", hard)


def history(breaker: Breaker, count: int = 200) -> None:
    """Deliver to many."""
    for number in range(count):
        assert breaker.note(result(number, hard=False)) is None


def opened_by(breaker: Breaker, results: list[Result]) -> tuple[int, Opened] | None:
    for number, each in enumerate(results):
        if (opened := breaker.note(each)) is not None:
            return number, opened
    return None


def test_mass_bounces_of_those_who_were_delivered_to_lately_open_it_once() -> None:
    breaker = Breaker()
    history(breaker)
    found = opened_by(breaker, [result(number, hard=True) for number in range(40)])
    assert found is not None
    number, opened = found
    assert number < 20
    assert (opened.site, opened.hard, opened.known, opened.accounts) == (SITE, number + 1, number + 1, 1)
    assert breaker.is_open(SITE)
    assert breaker.is_open(SITE)
    assert opened_by(breaker, [result(number, hard=True) for number in range(40)]) is None


def test_a_bad_list_of_one_account_does_not_open_it() -> None:
    breaker = Breaker()
    history(breaker)
    assert opened_by(breaker, [result(number, hard=True, account="spam") for number in range(1000, 1500)]) is None
    assert not breaker.is_open(SITE)


def test_mass_bounces_of_several_accounts_open_it_even_after_a_restart() -> None:
    results = [result(number, hard=True, account=f"account{number % 3}") for number in range(30)]
    found = opened_by(Breaker(), results)
    assert found is not None
    assert (found[1].known, found[1].accounts) == (0, 3)


def test_a_few_bounces_among_many_successes_are_usual() -> None:
    breaker = Breaker()
    history(breaker)
    mixed = [result(number, hard=number % 10 == 0) for number in range(500)]
    assert opened_by(breaker, mixed) is None


def test_another_site_is_not_concerned() -> None:
    breaker = Breaker()
    history(breaker)
    opened_by(breaker, [result(number, hard=True) for number in range(40)])
    assert not breaker.is_open("mx.example.org")


def test_it_closes_when_the_ratio_is_normal_again() -> None:
    breaker = Breaker()
    history(breaker)
    opened_by(breaker, [result(number, hard=True) for number in range(40)])
    for number in range(RECENT):
        breaker.note(result(number, hard=False))
    assert not breaker.is_open(SITE)


def test_it_tells_once_that_it_closed_by_itself() -> None:
    breaker = Breaker()
    history(breaker)
    opened_by(breaker, [result(number, hard=True) for number in range(40)])
    assert breaker.closed() == frozenset()
    for number in range(RECENT):
        breaker.note(result(number, hard=False))
    assert breaker.closed() == {SITE}
    assert breaker.closed() == frozenset()


def test_the_operator_closes_it_and_is_believed_until_the_ratio_was_normal() -> None:
    breaker = Breaker()
    history(breaker)
    opened_by(breaker, [result(number, hard=True) for number in range(40)])
    assert breaker.close(SITE)
    assert not breaker.close(SITE)
    assert breaker.closed() == frozenset()
    assert opened_by(breaker, [result(number, hard=True) for number in range(20)]) is None
    for number in range(2 * RECENT):
        breaker.note(result(number, hard=False))
    assert opened_by(breaker, [result(number, hard=True) for number in range(40)]) is not None


def test_one_that_was_open_before_a_restart_closes_when_the_ratio_is_normal_and_not_before() -> None:
    breaker = Breaker()
    breaker.resume(SITE)
    assert breaker.is_open(SITE)
    breaker.note(result(1, hard=False))
    assert breaker.is_open(SITE)
    for number in range(RECENT):
        breaker.note(result(number, hard=False))
    assert breaker.closed() == {SITE}


def test_one_that_is_open_is_not_forgotten_for_others() -> None:
    breaker = Breaker()
    breaker.resume(SITE)
    for number in range(6000):
        breaker.note(Result(f"mx{number}", "shop", f"u{number}@example.net", hard=False))
    assert breaker.is_open(SITE)
    assert len(breaker._sites) == 5000


def test_only_so_many_sites_and_recipients_are_remembered() -> None:
    breaker = Breaker()
    for number in range(60_000):
        breaker.note(Result(f"mx{number}", "shop", f"u{number}@example.net", hard=False))
    assert len(breaker._sites) == 5000
    assert len(breaker._delivered) == 50_000
