"""`mta dns`: the records to publish."""

from pathlib import Path

import dns.zone
import pytest

from tests.cli.command import Command


def test_json_has_each_record_with_its_reason(mta: Command) -> None:
    rows = mta("dns", "example.com", "--json").rows
    assert [(row["type"], row["name"]) for row in rows] == [
        ("TXT", "r1._domainkey.example.com"),
        ("TXT", "e1._domainkey.example.com"),
        ("TXT", "bounces.example.com"),
        ("MX", "bounces.example.com"),
        ("TXT", "example.com"),
        ("TXT", "_dmarc.example.com"),
    ]
    assert all(row["why"] and row["domain"] == "example.com" for row in rows)
    assert rows[3]["value"] == "10 mail.example.com."


def test_the_text_is_a_zone_file(mta: Command) -> None:
    zone = dns.zone.from_text("$TTL 300\n" + mta("dns").stdout, origin="example.com.", check_origin=False)
    (key,) = zone.find_rdataset("r1._domainkey", "TXT")
    assert b"".join(key.strings).startswith(b"v=DKIM1; k=rsa; p=")
    (mx,) = zone.find_rdataset("bounces", "MX")
    assert mx.to_text() == "10 mail"


def test_a_domains_own_return_path_is_what_is_published(mta: Command, site: Path) -> None:
    (site / "mta.d").mkdir()
    (site / "mta.d" / "more.toml").write_text('[[domain]]\nname = "a.example"\nreturn_path = "rp.a.example"\n')
    answer = mta("dns", "a.example")
    assert "rp.a.example. IN MX 10 mail.example.com." in answer.lines
    assert any("there is no DKIM key yet" in line and line.startswith(";") for line in answer.lines)


@pytest.mark.parametrize(("domain", "exit_code"), [("other.example", 1), ("not a domain", 65)])
def test_a_domain_that_is_not_ours_has_no_records(mta: Command, domain: str, exit_code: int) -> None:
    answer = mta("dns", domain)
    assert (answer.exit_code, answer.stdout) == (exit_code, "")
    assert domain in answer.stderr


def test_where_what_comes_back_does_not_arrive_it_says_so(mta: Command, site: Path) -> None:
    assert "inbound.listen has 127.0.0.1:0: forward" in mta("dns").stdout
    config = site / "mta.toml"
    config.write_text(config.read_text().replace('[inbound]\nlisten = ["127.0.0.1:0"]', "[inbound]"))
    assert "forward" not in mta("dns").stdout


@pytest.mark.parametrize(
    ("address", "wants_mx"), [("fbl@bounces.example.com", False), ("complaints@feedback.example", True)]
)
def test_the_feedback_address_is_named_with_the_record_it_lacks(
    mta: Command, site: Path, address: str, wants_mx: bool
) -> None:
    config = site / "mta.toml"
    config.write_text(config.read_text().replace("[inbound]\n", f'[inbound]\nfeedback_address = "{address}"\n'))
    answer = mta("dns")
    assert f"; --- feedback loops: register {address}" in answer.lines
    assert ("feedback.example. IN MX 10 mail.example.com." in answer.stdout) == wants_mx
