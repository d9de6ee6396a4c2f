"""What proves nothing changes nothing: forged, cut and foreign tokens, reports of nothing, and hostile content."""

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mta.bounces.letter import MAX_SIZE
from mta.demo.receiver import Received
from mta.mail.report_token import REPORT_FIELD, ReportClaim, ReportTokens
from mta.mail.token import Keyring, ReturnPaths
from tests.scenarios.house import House
from tests.scenarios.reports import (
    DOMAIN,
    FEEDBACK,
    bounce,
    changed,
    complaint,
    nested,
    return_path,
    return_paths,
    without_token,
)
from tests.scenarios.web import get

A = "a@example.net"
MOST_MEMORY = 200 * 1024
"""KiB by which a server may grow over content of 35 MB."""


@pytest.fixture
async def received(house: House) -> Received:
    """A message that was delivered to a@example.net."""
    queue_id = await house.submit(A)
    (message,) = await house.sink.wait_for(1)
    await house.wait_for_states(queue_id, "delivered")
    return message


async def assert_nothing_came_of_it(house: House) -> None:
    assert await house.suppressed() == []
    assert await house.happened() == ["accepted", "delivered"]
    assert await house.states(A) == ["delivered"]


async def count(house: House, sample: str) -> float:
    scrape = (await get(house, "/metrics")).content.decode()
    found = re.search(rf"^{re.escape(sample)} (\S+)$", scrape, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _foreign() -> Keyring:
    return Keyring.new(secrets.token_bytes(32), datetime.now(UTC))


FORGED_PATHS: dict[str, Callable[[str], str]] = {
    "another MAC": lambda ours: changed(ours, 38),
    "another delivery": lambda ours: changed(ours, 10),
    "a key that we have not": lambda ours: changed(ours, 2),
    "another kind": lambda ours: "a" + ours[1:],
    "cut": lambda ours: ours[:-1],
    "no MAC": lambda ours: ours[:19],
    "longer": lambda ours: ours + "0",
    "a foreign key": lambda ours: ReturnPaths(_foreign()).make(ours[3:19]),
}


async def test_a_return_path_that_is_not_ours_is_refused_and_counted(house: House, received: Received) -> None:
    local_part = return_path(received).partition("@")[0]
    for name, forge in FORGED_PATHS.items():
        reply = await house.bring(f"{forge(local_part)}@{DOMAIN}", bounce(received, A))
        assert reply.startswith("550 5.1.1 "), name
    assert await count(house, 'mta_inbound_rejected_total{reason="recipient"}') == len(FORGED_PATHS)
    await assert_nothing_came_of_it(house)


async def test_a_report_of_a_delivery_that_does_not_exist_changes_nothing(house: House, received: Received) -> None:
    address = f"{return_paths(house).make('0123456789abcdef')}@{DOMAIN}"
    assert (await house.bring(address, bounce(received, A))).startswith("250")
    assert await count(house, 'mta_reports_rejected_total{reason="delivery"}') == 1
    await assert_nothing_came_of_it(house)


def _sealed(content: bytes, token: str) -> bytes:
    """The message with another report token, and without its return path."""
    field = re.compile(rb"^%s:.*\r\n(?:[ \t].*\r\n)*" % REPORT_FIELD.encode(), re.MULTILINE)
    return field.sub(f"{REPORT_FIELD}: {token}\r\n".encode(), content)


def _token(content: bytes) -> str:
    found = re.search(rb"^%s:(.*\r\n(?:[ \t].*\r\n)*)" % REPORT_FIELD.encode(), content, re.MULTILINE)
    assert found is not None
    return "".join(found[1].decode().split())


FORGED_COMPLAINTS: dict[str, Callable[[bytes], bytes]] = {
    "none": without_token,
    "forged": lambda content: _sealed(content, changed(_token(content), 20)),
    "cut": lambda content: _sealed(content, _token(content)[:-8]),
    "a foreign key": lambda content: _sealed(
        content, ReportTokens(_foreign()).seal(ReportClaim("0" * 16, "app", "transactional", A))
    ),
}


async def test_a_complaint_without_a_token_of_ours_is_dropped_and_counted(house: House, received: Received) -> None:
    for name, forge in FORGED_COMPLAINTS.items():
        report = complaint(forge(received.content))
        assert (await house.bring(FEEDBACK, report, "feedback@example.net")).startswith("250"), name
    assert await count(house, 'mta_reports_rejected_total{reason="token"}') == len(FORGED_COMPLAINTS)
    assert await count(house, "mta_complaints_total") == 0
    await assert_nothing_came_of_it(house)


async def test_nothing_is_relayed(house: House) -> None:
    for address, reply in {
        "a@example.net": "550 5.7.1 ",
        "app@example.com": "550 5.7.1 ",
        "a%example.net@bounces.example.com": "550 5.1.1 ",
        "nobody@bounces.example.com": "550 5.1.1 ",
    }.items():
        assert (await house.bring(address, b"Subject: x\r\n\r\nx\r\n", "x@example.org")).startswith(reply), address
    assert house.sink.connections == 0


def _memory(house: House) -> int:
    """The server's resident memory in KiB."""
    status = Path(f"/proc/{house.server.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1])


HOSTILE = {
    "deep": nested(2_000),
    "deep and large": nested(15, 30_000_000),
    "as large as can be": nested(1, 34_000_000),
    "all boundaries": b'Content-Type: multipart/mixed; boundary="a"\r\n\r\n' + b"--a\r\n\r\n" * (MAX_SIZE // 9),
    "a long header": b"Subject: x\r\n" + b"X-Field: y\r\n" * (MAX_SIZE // 13) + b"\r\nx\r\n",
    "a long line": b"Subject: " + b"x" * (MAX_SIZE - 20) + b"\r\n\r\nx\r\n",
    "parameters": b"Content-Type: multipart/mixed" + b"; a*0=b" * (MAX_SIZE // 8) + b"\r\n\r\nx\r\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?a?= " * (MAX_SIZE // 15) + b"\r\n\r\nx\r\n",
    "comments in comments": b"From: " + b"(" * 30_000 + b"\r\n\r\nx\r\n",
    "nothing": b"",
    "noise": bytes(range(256)) * 4000,
}


UNREADABLE = 6
"""Of those, the ones that are beyond the limits."""


async def test_hostile_content_takes_bounded_time_and_memory_and_changes_nothing(
    house: House, received: Received
) -> None:
    before = _memory(house)
    for address in (return_path(received), FEEDBACK):
        for name, content in HOSTILE.items():
            assert (await house.bring(address, content)).startswith("250 "), name
    assert _memory(house) - before < MOST_MEMORY
    assert await count(house, 'mta_reports_rejected_total{reason="unreadable"}') >= 2 * UNREADABLE
    await assert_nothing_came_of_it(house)
    await house.wait_for_states(await house.submit("b@example.net"), "delivered")
    assert "Traceback" not in house.server.log.read_text()


async def test_more_than_can_be_is_refused_and_what_follows_is_taken(house: House, received: Received) -> None:
    reply = await house.bring(return_path(received), nested(1, 36_000_000))
    assert reply.startswith("552 5.3.4 ")
    assert (await house.bring(return_path(received), bounce(received, A))).startswith("250 ")
    assert await house.suppressed() == [A]
