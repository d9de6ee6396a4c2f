"""Which versions of TLS the submission listeners speak, as the programs of others see it (RFC 8314 §4.1, RFC 8996)."""

import json
import re
from pathlib import Path

import pytest

from tests.scenarios.house import House, open_house
from tests.scenarios.programs import Ended, run

# a machine whose cores are busy needs many times as long
PATIENCE = 110.0
# without it, OpenSSL itself would not try what it holds for too weak, and nothing would be learnt of the server
_ANYTHING = ("-cipher", "ALL:@SECLEVEL=0")
_TAKEN = {
    "SSLv2": "not offered",
    "SSLv3": "not offered",
    "TLS1": "not offered",
    "TLS1_1": "not offered",
    "TLS1_2": "offered",
    "TLS1_3": "offered with final",
}
_WEAKNESSES = {
    "heartbleed",
    "CCS",
    "secure_renego",
    "secure_client_renego",
    "CRIME_TLS",
}


async def _s_client(house: House, listener: str, *options: str) -> Ended:
    host, port = house.server.address(listener)
    starttls = ("-starttls", "smtp") if listener == "submission" else ()
    return await run("openssl", "s_client", "-connect", f"{host}:{port}", "-brief", *starttls, *options)


async def _refusals(house: House) -> list[str]:
    """Return the reasons of the handshakes that failed, from the server's log."""
    log = house.server.log.read_text("utf-8")
    return re.findall(r"TLS handshake with 127\.0\.0\.1 failed: \[SSL: (\w+)\]", log)


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("listener", ["submission", "submission_tls"])
async def test_old_versions_are_refused_and_the_others_taken(house: House, listener: str) -> None:
    for option in ("-tls1", "-tls1_1"):
        old = await _s_client(house, listener, option, *_ANYTHING)
        assert old.code != 0
        assert "Protocol version" not in old.output
    # by the server, and not by the program that asked
    await house.until(lambda: _refusals(house), ["UNSUPPORTED_PROTOCOL"] * 2)
    for option, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        new = await _s_client(house, listener, option)
        assert f"Protocol version: {version}" in new.output, new.output
        assert new.code == 0


@pytest.mark.peer("openssl")
async def test_the_operator_may_want_no_less_than_tls_1_3(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house", start=False) as house:
        config = house.folder / "mta.toml"
        config.write_text(config.read_text().replace('key.pem" }', 'key.pem", min_version = "1.3" }', 1))
        async with house.server:
            for listener in ("submission", "submission_tls"):
                assert (await _s_client(house, listener, "-tls1_2", *_ANYTHING)).code != 0
                assert "Protocol version: TLSv1.3" in (await _s_client(house, listener)).output
            await house.until(lambda: _refusals(house), ["UNSUPPORTED_PROTOCOL"] * 2)


@pytest.mark.slow
@pytest.mark.peer("testssl.sh")
@pytest.mark.parametrize(
    ("listener", "checks"),
    [
        ("submission", ("--heartbleed", "--ccs-injection", "--renegotiation", "--crime")),
        ("submission_tls", ()),
    ],
)
async def test_testssl_finds_nothing_old_and_nothing_weak(
    house: House, listener: str, checks: tuple[str, ...], tmp_path: Path
) -> None:
    host, port = house.server.address(listener)
    found = tmp_path / "found.json"
    ended = await run(
        *("testssl", "--quiet", "--warnings", "off", "--color", "0", "--nodns", "none", "--ip", host),
        *("--jsonfile", str(found), "--protocols", *checks),
        *(("--starttls", "smtp") if listener == "submission" else ()),
        f"{host}:{port}",
        patience=PATIENCE,
    )
    assert found.exists(), ended.output
    findings = {finding["id"]: finding for finding in json.loads(found.read_text())}
    assert {name: findings[name]["finding"] for name in _TAKEN} == _TAKEN
    if checks:
        assert {findings[name]["severity"] for name in _WEAKNESSES} == {"OK"}, ended.output
