"""What is said about keys agrees with the models."""

import re
from pathlib import Path

import pytest

from mta.config.positions import Loc
from mta.config.schema import FILE_KEYS, LIST_TABLES, SECRET_KEYS, keys_of, part_at
from mta.config.settings import AccountEntry, Part, ServerTls, Settings, Webhook


@pytest.mark.parametrize(
    ("loc", "part"),
    [
        ((), Settings),
        (("submission", "tls"), ServerTls),
        (("account", 3), AccountEntry),
        (("account", "*", "webhook"), Webhook),
        (("account", "*", "rate"), None),
        (("nothing", "at", "all"), None),
    ],
)
def test_the_model_at_a_place_is_found(loc: Loc, part: type[Part] | None) -> None:
    assert part_at(loc) is part


def test_every_part_below_the_settings_has_its_keys_listed() -> None:
    keys = set(keys_of(Settings))
    assert {("hostname",), ("queue", "retry"), ("domain", "*", "dkim", "*", "key")} <= keys
    assert {("account", "*", "webhook", "secret"), ("delivery", "timeouts", "attempt")} <= keys


def _declared(loc: Loc) -> str:
    part = part_at(loc[:-1])
    assert part is not None
    return str(part.model_fields[str(loc[-1])])


def test_every_key_that_holds_a_path_is_resolved() -> None:
    paths = {loc for loc in keys_of(Settings) if re.search(rf"\b{Path.__name__}\b", _declared(loc).split("default")[0])}
    assert paths == set(FILE_KEYS)


def test_every_key_that_holds_a_secret_may_be_kept_elsewhere() -> None:
    secrets = {loc for loc in keys_of(Settings) if re.search(r"\b(Secret|Relay)\b", _declared(loc).split("default")[0])}
    assert secrets == set(SECRET_KEYS)


def test_every_list_of_tables_is_known_as_one() -> None:
    lists = {loc[0] for loc in keys_of(Settings) if len(loc) == 3 and loc[1] == "*"}
    assert lists == set(LIST_TABLES)
