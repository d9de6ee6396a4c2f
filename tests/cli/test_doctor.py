"""`mta doctor` on a folder as `mta init` makes it, with a name server on loopback: nothing is asked of the world."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mta import assembly
from mta.config.load import load
from mta.demo.dns import NameServer
from tests.cli.background import in_background
from tests.cli.command import Command
from tests.scenarios.house import House

CHECKS = [
    "configuration",
    "server",
    "permissions",
    "store",
    "queue",
    "disk",
    "descriptors",
    "clock",
    "certificate",
    "resolver",
    "dnssec",
    "hostname",
    "ptr",
    "return path",
    "spf",
    "dkim",
    "dmarc",
]


@pytest.fixture
def names(site: Path) -> Iterator[NameServer]:
    """The world's DNS, as the folder's configuration knows it."""
    with in_background(NameServer()) as names:
        (site / "mta.d").mkdir(exist_ok=True)
        (site / "mta.d" / "resolver.toml").write_text(
            f'[delivery]\nresolvers = ["{names.address}"]\n[queue]\nmin_free = "0.1%"\n'
        )
        yield names


def verdicts(rows: list[dict[str, str]]) -> dict[str, set[str]]:
    """What each check came to."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["check"], set()).add(row["verdict"])
    return found


def test_a_folder_whose_records_are_not_published_fails_and_says_what_to_do(
    mta: Command, letterbox: dict[str, str], names: NameServer
) -> None:
    answer = mta("doctor", "--json")
    found = verdicts(answer.rows)
    assert answer.exit_code == 1
    assert list(found) == CHECKS
    for check in ("hostname", "return path", "dkim"):
        assert found[check] == {"fail"}, check
    for check in ("store", "permissions", "resolver", "clock"):
        assert found[check] == {"ok"}, check
    assert found["server"] == {"warn"}
    assert found["queue"] == {"warn"}  # the letterbox has mail that is held
    assert all(row["remedy"] for row in answer.rows if row["verdict"] in ("warn", "fail"))


def test_published_records_are_found(mta: Command, site: Path, names: NameServer) -> None:
    settings = load(site / "mta.toml", {}).settings
    address = "93.184.215.14"
    names.add(settings.hostname, "A", address)
    names.add("14.215.184.93.in-addr.arpa", "PTR", f"{settings.hostname}.")
    names.add(settings.inbound.return_path_domain, "MX", f"10 {settings.hostname}.")
    names.add(settings.inbound.return_path_domain, "TXT", f"v=spf1 a:{settings.hostname} -all")
    names.add("_dmarc.example.com", "TXT", "v=DMARC1; p=none")
    for keys in assembly.dkim_keys(settings).values():
        for key in keys:
            names.add(key.dns_name, "TXT", key.dns_record)
    found = verdicts(mta("doctor", "--json").rows)
    for check in ("ptr", "spf", "dkim", "dmarc"):
        assert found[check] == {"ok"}, check
    # whether packets leave from that address, and which ports bounces come to, is this machine's
    assert "fail" not in found["hostname"] | found["return path"]


def test_people_get_a_line_for_each_finding_and_a_remedy(
    mta: Command, letterbox: dict[str, str], names: NameServer
) -> None:
    lines = mta("doctor").lines
    assert any(line.startswith("fail     hostname      mail.example.com: has no address") for line in lines)
    assert any(line.strip().startswith("→ mta dns prints the record") for line in lines)
    assert " fail, " in lines[-1]


def test_before_the_first_start_there_is_no_store_to_look_at(mta: Command, names: NameServer) -> None:
    assert verdicts(mta("doctor", "--json").rows)["store"] == {"skipped"}


def test_a_store_that_is_damaged_is_a_failure(
    mta: Command, letterbox: dict[str, str], site: Path, names: NameServer
) -> None:
    with open(site / "data" / "queue.db", "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 65536)
    found = [row for row in mta("doctor", "--json").rows if row["check"] == "store"]
    assert [(row["verdict"], ".recover" in row["remedy"]) for row in found] == [("fail", True)]


def test_a_running_server_is_seen(live: Command, house: House) -> None:
    found = {row["check"]: row for row in live("doctor", "--json").rows}
    assert (found["server"]["verdict"], found["store"]["verdict"]) == ("ok", "ok")
    assert found["descriptors"]["what"].startswith("process ")
