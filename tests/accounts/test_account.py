import pytest

from mta.accounts.account import Account, Directory, Login

SHOP = Account("shop", frozenset({"example.com"}), password_hash="$argon2id$secret", stream="bulk")
ALICE = Account("alice@example.com", frozenset({"example.com", "example.net"}))
DIRECTORY = Directory([SHOP, ALICE])


@pytest.mark.parametrize(
    ("login", "meant"),
    [
        ("shop", Login(SHOP)),
        ("shop/bulk", Login(SHOP, "bulk")),
        ("shop/transactional", Login(SHOP, "transactional")),
        ("alice@example.com", Login(ALICE)),
        ("shop/", None),
        ("shop/other", None),
        ("shop/bulk/bulk", None),
        ("Shop", None),
        ("nobody", None),
        ("/bulk", None),
        ("", None),
    ],
)
def test_a_login_means_an_account_and_perhaps_a_stream(login: str, meant: Login | None) -> None:
    assert DIRECTORY.log_in(login) == meant


def test_the_accounts_own_stream_holds_until_the_login_fixes_another() -> None:
    assert (Login(SHOP).stream, Login(SHOP, "transactional").stream) == ("bulk", "transactional")


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a\tb", "a\x00", "a\nb", "a\u2028b", "\u00a0"])
def test_a_name_that_could_be_misread_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="account name"):
        Account(name, frozenset())


def test_an_unknown_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="stream"):
        Account("shop", frozenset(), stream="spam")


def test_two_accounts_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="shop"):
        Directory([SHOP, SHOP])


@pytest.mark.parametrize(("domain", "owned"), [("example.com", True), ("sub.example.com", False), ("com", False)])
def test_a_domain_is_matched_exactly(domain: str, owned: bool) -> None:
    assert SHOP.owns(domain) is owned


def test_the_hash_is_in_no_repr() -> None:
    assert "argon2id" not in repr(Login(SHOP))
