"""Keys without effect are named when they are set, and only then."""

import pytest

from mta.config.in_force import NOT_IN_FORCE, ignored_keys
from mta.config.positions import Loc
from mta.config.schema import keys_of
from mta.config.settings import Settings

HOST = {"hostname": "mail.example.com"}
ACCOUNT = {"name": "a", "domains": ["example.com"]}


def _ignored(data: dict[str, object]) -> list[Loc]:
    return [finding.loc for finding in ignored_keys(Settings.model_validate({**HOST, **data}))]


def test_every_key_without_effect_exists() -> None:
    assert set(NOT_IN_FORCE) <= set(keys_of(Settings))


def test_defaults_need_no_warning() -> None:
    assert _ignored({"account": [ACCOUNT], "route": [{"domain": "*", "hold": True}]}) == []


@pytest.mark.parametrize(
    ("data", "loc"),
    [
        ({"http": {"public_url": "https://mail.example.com"}}, ("http", "public_url")),
        ({"inbound": {"postmaster": "p@example.com"}}, ("inbound", "postmaster")),
        ({"inbound": {"forward_autoreplies": False}}, ("inbound", "forward_autoreplies")),
        ({"http": {"tls": {"min_version": "1.3"}}}, ("http", "tls")),
        ({"shaping": [{"site": "google"}, {"site": "yahoo"}]}, ("shaping", 0)),
        ({"source": [{"name": "a", "address": "192.0.2.1"}]}, ("source", 0)),
        ({"account": [ACCOUNT, {**ACCOUNT, "pool": "slow"}]}, ("account", 1, "pool")),
        ({"account": [{**ACCOUNT, "tracking": {"opens": True}}]}, ("account", 0, "tracking")),
        ({"reputation": {"require_consent": True}}, ("reputation", "require_consent")),
        ({"suppression": {"soft_bounces": {"count": 3}}}, ("suppression", "soft_bounces")),
    ],
)
def test_a_key_without_effect_is_named_once(data: dict[str, object], loc: Loc) -> None:
    assert _ignored(data) == [loc]


@pytest.mark.parametrize(
    "data",
    [
        {"workers": 1},
        {"inbound": {"return_path_domain": "r.example.net"}},
        {"delivery": {"addresses": "ipv4", "port": 2525}},
        {"submission": {"long_lines": "accept", "max_connections": 3}},
        {"privacy": {"keep_body_after_final": "1d"}},
        {"inbound": {"feedback_address": "f@example.com", "listen": []}},
        {"reputation": {"bounce_rate": {"suspend": 0.2}, "windows": ["1h"], "scope": "account"}},
        {"suppression": {"expiry": {"complaint": "400d"}}},
    ],
)
def test_a_key_in_force_or_at_its_default_is_not_named(data: dict[str, object]) -> None:
    assert _ignored(data) == []
