"""What the tests of reading share: the shipped rules."""

from importlib import resources

import pytest

from mta.bounces.rules import Rules


@pytest.fixture(scope="session")
def rules() -> Rules:
    return Rules.parse(resources.files("mta.bounces").joinpath("rules.toml").read_text(encoding="utf-8"))
