"""Tokens: only the keyring's holder can make one, and the keyring's file is read and written whole."""

import json
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail import ids
from mta.mail.address import Mailbox
from mta.mail.token import MAX_GROUPS, GroupPath, Key, Keyring, ReturnPaths, is_shared

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
RING = Keyring.new(b"s" * 32, NOW)
DELIVERY = "0123456789abcdef"
any_text = st.text(st.characters(codec=None, categories=None), max_size=60)


@given(st.integers(0, (1 << 80) - 1))
def test_a_return_path_proves_its_delivery(number: int) -> None:
    delivery_id = ids.encode(number, ids.LENGTH)
    local_part = ReturnPaths(RING).make(delivery_id)
    assert len(local_part) == 39
    assert ReturnPaths(RING).prove(local_part) == delivery_id
    assert Mailbox.parse(f"{local_part}@bounces.example.com").local_part == local_part


def test_a_return_path_has_its_final_form() -> None:
    """Mail in flight keeps its return path for days: what is pinned here is never changed."""
    assert ReturnPaths(RING).make(DELIVERY) == "b000123456789abcdef8xkagba95vjv0rztsn3d"


@pytest.mark.parametrize("change", [str.upper, str.title, str.swapcase, str.lower])
def test_a_host_may_change_the_case_of_a_return_path(change: object) -> None:
    assert callable(change)
    assert ReturnPaths(RING).prove(change(ReturnPaths(RING).make(DELIVERY))) == DELIVERY


@given(st.integers(0, 38), st.sampled_from(string.ascii_letters + string.digits + "+=-._"))
def test_one_letter_changed_anywhere_is_a_forgery(place: int, letter: str) -> None:
    good = ReturnPaths(RING).make(DELIVERY)
    forged = good[:place] + letter + good[place + 1 :]
    if forged.lower() == good:
        assert ReturnPaths(RING).prove(forged) == DELIVERY
        return
    with pytest.raises(ValueError, match="not a return path of ours"):
        ReturnPaths(RING).prove(forged)


@pytest.mark.parametrize("size", range(39))
def test_a_return_path_that_was_cut_is_a_forgery(size: int) -> None:
    with pytest.raises(ValueError, match="not a return path of ours"):
        ReturnPaths(RING).prove(ReturnPaths(RING).make(DELIVERY)[:size])


@pytest.mark.parametrize("extra", ["0", " ", "\n", "+tag", "=", "\u0301"])
def test_a_return_path_with_something_behind_or_before_is_a_forgery(extra: str) -> None:
    good = ReturnPaths(RING).make(DELIVERY)
    for forged in (good + extra, extra + good):
        with pytest.raises(ValueError, match="not a return path of ours"):
            ReturnPaths(RING).prove(forged)


def test_letters_that_only_unicode_folds_to_ours_are_a_forgery() -> None:
    paths = ReturnPaths(RING)
    good = next(path for n in range(1000) if "k" in (path := paths.make(ids.encode(n, 16))))
    with pytest.raises(ValueError, match="not a return path of ours"):
        paths.prove(good.replace("k", "\u212a"))


@given(any_text)
def test_any_text_is_a_forgery(text: str) -> None:
    with pytest.raises(ValueError, match="not a return path of ours"):
        ReturnPaths(RING).prove(text)


def test_the_mac_of_another_delivery_or_key_proves_nothing() -> None:
    good = ReturnPaths(RING).make(DELIVERY)
    other_delivery = ReturnPaths(RING).make("0" * 16)
    other_key = ReturnPaths(Keyring.new(b"t" * 32, NOW)).make(DELIVERY)
    for forged in (good[:19] + other_delivery[19:], other_key):
        with pytest.raises(ValueError, match="not a return path of ours"):
            ReturnPaths(RING).prove(forged)


def test_the_same_secret_under_another_key_id_proves_nothing() -> None:
    two = Keyring((RING.newest, Key("01", NOW, RING.newest.secret)))
    good = ReturnPaths(RING).make(DELIVERY)
    with pytest.raises(ValueError, match="not a return path of ours"):
        ReturnPaths(two).prove("b01" + good[3:])


def test_a_rotated_keyring_makes_with_the_new_key_and_proves_with_both() -> None:
    rotated = RING.with_new(b"t" * 32, NOW + timedelta(days=1))
    old, new = ReturnPaths(RING).make(DELIVERY), ReturnPaths(rotated).make(DELIVERY)
    assert (old[1:3], new[1:3]) == ("00", "01")
    assert ReturnPaths(rotated).prove(old) == ReturnPaths(rotated).prove(new) == DELIVERY
    with pytest.raises(ValueError, match="not a return path of ours"):
        ReturnPaths(RING).prove(new)


def test_a_new_key_gets_an_id_that_no_other_has() -> None:
    ring = Keyring((Key("00", NOW, b"a" * 32), Key("zz", NOW, b"b" * 32)))
    assert ring.with_new(b"c" * 32, NOW).newest.id == "01"


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=40), st.datetimes()), min_size=1, max_size=4))
def test_dumping_and_reading_a_keyring_is_the_identity(entries: list[tuple[bytes, datetime]]) -> None:
    ring = Keyring.new(*_aware(entries[0]))
    for entry in entries[1:]:
        ring = ring.with_new(*_aware(entry))
    assert Keyring.parse(ring.dump()) == ring


def _aware(entry: tuple[bytes, datetime]) -> tuple[bytes, datetime]:
    return entry[0], entry[1].replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0"},
        {"id": "000"},
        {"id": "OO"},
        {"id": 0},
        {"created": "yesterday"},
        {"created": 0},
        {"created": "2025-06-02T12:00:00"},
        {"secret": "not base64!"},
        {"secret": 5},
        {"secret": "c2hvcnQ="},
    ],
)
def test_a_keyring_with_a_bad_key_is_refused(change: dict[str, object]) -> None:
    entry = json.loads(RING.dump())["keys"][0] | change
    with pytest.raises(ValueError, match=r".+"):
        Keyring.parse(json.dumps({"keys": [entry]}))


@pytest.mark.parametrize("missing", ["id", "created", "secret"])
def test_a_keyring_whose_key_lacks_something_is_refused(missing: str) -> None:
    entry = json.loads(RING.dump())["keys"][0]
    del entry[missing]
    with pytest.raises(ValueError, match="not a keyring"):
        Keyring.parse(json.dumps({"keys": [entry]}))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "5", '"keys"', '{"keys": null}', '{"keys": 5}', '{"keys": [[]]}', "{", "[" * 200_000],
)
def test_what_is_no_keyring_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a keyring"):
        Keyring.parse(text)


def test_a_keyring_without_keys_or_with_an_id_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="has no key"):
        Keyring.parse('{"keys": []}')
    with pytest.raises(ValueError, match="two keys of one id"):
        Keyring((RING.newest, RING.newest))


def test_no_secret_shows_when_a_keyring_is_printed_or_refused() -> None:
    assert "ssss" not in repr(RING)
    entry = json.loads(RING.dump())["keys"][0] | {"secret": "c2hvcnQ="}
    with pytest.raises(ValueError, match="secret of 5 octets") as raised:
        Keyring.parse(json.dumps({"keys": [entry]}))
    assert "short" not in str(raised.value)
    assert "c2hvcnQ" not in str(raised.value)


# shared by several deliveries


@given(st.integers(0, (1 << 80) - 1), st.integers(0, MAX_GROUPS - 1))
def test_a_shared_return_path_proves_its_message(number: int, group: int) -> None:
    queue_id = ids.encode(number, ids.LENGTH)
    paths = ReturnPaths(RING)
    local_part = paths.make_shared(queue_id, group)
    assert len(local_part) == 39
    assert is_shared(local_part)
    assert not is_shared(paths.make(queue_id))
    assert paths.prove_shared(local_part.upper()) == GroupPath(queue_id, local_part)


def test_a_shared_return_path_has_its_final_form() -> None:
    assert ReturnPaths(RING).make_shared(DELIVERY, 5) == "g000123456789abcdef05mq7p3atbdbg351n8ak"


def test_each_group_of_a_message_has_its_own() -> None:
    assert len({ReturnPaths(RING).make_shared(DELIVERY, group) for group in range(MAX_GROUPS)}) == MAX_GROUPS


@pytest.mark.parametrize("group", [-1, MAX_GROUPS])
def test_there_are_no_more_groups_than_fit(group: int) -> None:
    with pytest.raises(ValueError, match="1024"):
        ReturnPaths(RING).make_shared(DELIVERY, group)


@given(st.integers(0, 38), st.sampled_from(string.ascii_letters + string.digits + "+=-._"))
def test_one_letter_of_a_shared_return_path_changed_is_a_forgery(place: int, letter: str) -> None:
    good = ReturnPaths(RING).make_shared(DELIVERY, 5)
    forged = good[:place] + letter + good[place + 1 :]
    if forged.lower() == good:
        return
    with pytest.raises(ValueError, match="not a return path of ours"):
        ReturnPaths(RING).prove_shared(forged)


@given(any_text)
def test_no_text_proves_a_shared_return_path(text: str) -> None:
    with pytest.raises(ValueError, match="not a return path of ours"):
        ReturnPaths(RING).prove_shared(text)


def test_one_kind_of_return_path_is_none_of_the_other() -> None:
    paths = ReturnPaths(RING)
    own, shared = paths.make(DELIVERY), paths.make_shared(DELIVERY, 5)
    for forged in ("g" + own[1:], own):
        with pytest.raises(ValueError, match="not a return path of ours"):
            paths.prove_shared(forged)
    for forged in ("b" + shared[1:], shared):
        with pytest.raises(ValueError, match="not a return path of ours"):
            paths.prove(forged)
