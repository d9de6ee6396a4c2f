"""Receiving hosts as they are: real servers with different extensions, and certificates of every kind."""

import asyncio
import re
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from mta.demo.receiver import Receiver
from mta.mail.envelope import BodyType
from mta.mail.header import split
from mta.mail.outcome import Delivered
from mta.queue.seams import Host, Site
from tests.delivery.pki import DAY, issue
from tests.delivery.world import letter, ours, transport
from tests.fakes.clock import FakeClock
from tests.scenarios.house import House, message, open_house
from tests.scenarios.mail_servers import HOST, open_exim, open_opensmtpd
from tests.scenarios.postfix import open_postfix
from tests.scenarios.receivers import FAR, Told, aim, attempts, by_label, open_hosts, server_context

NOW = datetime.now(UTC)
CA = issue("Test CA", NOW, ca=True)

POLICIES = ("opportunistic", "require", "verify")
PROVEN = ("delivered", "verify", True, True)
OPPORTUNISTIC = ("delivered", "opportunistic", True, False)
IN_PLAINTEXT = ("delivered", "opportunistic", False, False)
REQUIRED = ("delivered", "require", True, False)
UNMET = {policy: ("deferred", policy, False, False) for policy in POLICIES}
# the certificate of a host, and what follows from it under each policy
OUTCOMES = {
    "good": (OPPORTUNISTIC, REQUIRED, PROVEN),
    "selfsigned": (OPPORTUNISTIC, REQUIRED, UNMET["verify"]),
    "expired": (OPPORTUNISTIC, REQUIRED, UNMET["verify"]),
    "misnamed": (OPPORTUNISTIC, REQUIRED, UNMET["verify"]),
    # TLS 1.0 and 1.1 are no TLS (RFC 8996)
    "oldtls": (IN_PLAINTEXT, UNMET["require"], UNMET["verify"]),
    "plain": (IN_PLAINTEXT, UNMET["require"], UNMET["verify"]),
}
ROUTE = '[[route]]\ndomain = "{domain}"\nrelay = "smtp://mx.{domain}:{port}"\ntls = "{policy}"\n'


async def test_each_policy_takes_the_certificates_that_it_may(tmp_path: Path) -> None:
    expected = {
        f"{kind}-{policy}": outcome
        for kind, outcomes in OUTCOMES.items()
        for policy, outcome in zip(POLICIES, outcomes, strict=True)
    }
    contexts = {f"mx.{name}.example": _context(tmp_path, name) for name in expected}
    async with open_hosts(contexts) as hosts:
        more = f'ca_file = "{CA.write(tmp_path / "anchors.pem")}"\n' + "".join(
            ROUTE.format(domain=f"{name}.example", port=_port(hosts), policy=name.partition("-")[2])
            for name in expected
        )
        async with open_house(tmp_path / "house", retry=FAR, start=False) as house:
            house.config.write_text(house.config.read_text().replace("[log]", f"{more}[log]", 1))
            for name, host in hosts.items():
                house.names.add(name, "A", host.host)
            aim(house, hosts)
            async with house.server:
                await house.submit(*(f"a@{name}.example" for name in expected))
                told = by_label(await attempts(house, len(expected)))
        assert {name: each.way for name, each in told.items()} == expected
        _assert_the_story_is_told(told)
        for name, (what, *_) in expected.items():
            asked = any(command.startswith("MAIL") for command in hosts[f"mx.{name}.example"].commands)
            assert asked == (what == "delivered"), name


def _assert_the_story_is_told(told: dict[str, Told]) -> None:
    """Plaintext only after a handshake that failed, and saying so."""
    assert told["oldtls-opportunistic"].stages == ("starttls", "dot")
    assert "TLS" in told["oldtls-opportunistic"].proof
    assert told["oldtls-require"].stages == ("starttls",)
    assert told["plain-opportunistic"].stages == ("dot",)
    assert "STARTTLS" in told["good-verify"].offered
    assert "STARTTLS" not in told["plain-opportunistic"].offered
    assert told["good-verify"].proof == "certificate for mx.good-verify.example"


def _port(hosts: dict[str, Receiver]) -> int:
    return next(iter(hosts.values())).port


def _context(folder: Path, name: str) -> ssl.SSLContext | None:
    own = (f"mx.{name}.example",)
    match name.partition("-")[0]:
        case "selfsigned":
            return server_context(folder, issue(name, NOW, names=own))
        case "expired":
            return server_context(folder, issue(name, NOW, CA, names=own, starts=-9 * DAY, lasts=DAY), CA)
        case "misnamed":
            return server_context(folder, issue(name, NOW, CA, names=("mx.another.example",)), CA)
        case "plain":
            return None
        case kind:
            context = server_context(folder, issue(name, NOW, CA, names=own), CA)
            if kind == "oldtls":
                context.set_ciphers("ALL:@SECLEVEL=0")
                with warnings.catch_warnings(action="ignore"):
                    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            return context


class Server(Protocol):
    """What a scenario needs to know of a real server."""

    @property
    def port(self) -> int:
        """Where it listens."""
        ...

    @property
    def certificate(self) -> Path:
        """The certificate that it signed itself."""
        ...


Stored = Callable[[], list[bytes]]


@dataclass(frozen=True)
class Kind:
    """A kind of real server."""

    open: Callable[[Receiver], AbstractAsyncContextManager[tuple[Server, Stored]]]
    offers: frozenset[str]
    lacks: frozenset[str]
    policy: str = "verify"


@asynccontextmanager
async def _postfix(sink: Receiver) -> AsyncIterator[tuple[Server, Stored]]:
    async with open_postfix() as server:
        yield server, lambda: server.mailbox("a")


@asynccontextmanager
async def _exim(sink: Receiver) -> AsyncIterator[tuple[Server, Stored]]:
    async with open_exim() as server:
        yield server, server.stored


@asynccontextmanager
async def _opensmtpd(sink: Receiver) -> AsyncIterator[tuple[Server, Stored]]:
    async with open_opensmtpd(sink.port) as server:
        yield server, lambda: [one.content for one in sink.messages if one.recipients == ("a@example.net",)]


KINDS = {
    "postfix": Kind(_postfix, frozenset({"CHUNKING", "PIPELINING", "STARTTLS"}), frozenset()),
    "exim": Kind(_exim, frozenset({"CHUNKING", "PIPELINING", "STARTTLS"}), frozenset({"DSN"})),
    "opensmtpd": Kind(
        _opensmtpd,
        frozenset({"8BITMIME", "DSN"}),
        frozenset({"CHUNKING", "PIPELINING", "STARTTLS"}),
        "opportunistic",
    ),
}
SMALL = b"dots:\r\n.\r\n..\r\n.three\r\n" + b"x" * 998 + b"\r\n8-bit: \xc3\xa9\r\n\r\nend\r\n"
LARGE = SMALL * 400
"""More than what goes out before the envelope is answered, and more than one chunk."""
TO_IT = """
[[route]]
domain = "example.net"
relay = "smtp://{host}:{port}"
tls = "{policy}"
"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("postfix", marks=pytest.mark.peer("postfix")),
        pytest.param("exim", marks=pytest.mark.peer("exim4-daemon-light")),
        pytest.param("opensmtpd", marks=pytest.mark.peer("opensmtpd")),
    ],
)
async def test_a_real_server_stores_what_was_submitted_and_refuses_whom_it_does_not_know(
    name: str, tmp_path: Path
) -> None:
    kind = KINDS[name]
    async with (
        open_house(tmp_path / "house", start=False) as house,
        kind.open(house.sink) as (server, stored),
    ):
        house.names.add(HOST, "A", "127.0.0.1")
        text = house.config.read_text().replace("[log]", f'ca_file = "{server.certificate}"\n[log]', 1)
        house.config.write_text(text + TO_IT.format(host=HOST, port=server.port, policy=kind.policy))
        async with house.server:
            head = message(("a@example.net",)).partition(b"\r\n\r\n")[0].replace(b"7bit", b"8bit")
            for body in (SMALL, LARGE):
                await house.submit("a@example.net", content=head + b"\r\n\r\n" + body)
            await house.submit("nobody@example.net")
            told = await _settled(house)
            await house.see("both messages are stored", lambda: len(stored()) == 2)
        bodies = [split(one)[1] for one in stored()]
        assert sorted(bodies, key=len) == [SMALL, LARGE]
        assert told["a@example.net"].way == (PROVEN if kind.policy == "verify" else IN_PLAINTEXT)
        assert kind.offers <= set(told["a@example.net"].offered)
        assert not kind.lacks & set(told["a@example.net"].offered)
        assert told["nobody@example.net"].type == "bounced"
        assert told["nobody@example.net"].said.startswith("550 ")


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        # what it counted when the connection ended
        pytest.param("postfix", r" mail=3 rcpt=3 data=1 bdat=2 ", marks=pytest.mark.peer("postfix")),
        # K: it came in chunks
        pytest.param(
            "exim",
            r" <= (?!.* K ).*\n(?:.*\n)*?.* <= .* K .*\n(?:.*\n)*?.* <= .* K ",
            marks=pytest.mark.peer("exim4-daemon-light"),
        ),
    ],
)
async def test_a_real_server_that_answered_in_step_takes_messages_in_one_flight(name: str, seen: str) -> None:
    opening = open_postfix() if name == "postfix" else open_exim()
    async with opening as server:
        async with transport(clock=FakeClock()) as sending:
            for number in range(3):
                one = letter("a@example.net", SMALL, message_id=f"<{number}@example.com>", body_type=BodyType.EIGHT_BIT)
                outcome = await sending.deliver(one, Site(HOST, (Host(HOST, server.port),)), ours)
                assert isinstance(outcome, Delivered), outcome
        async with asyncio.timeout(30):
            while not re.search(seen, server.log()):  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.1)


async def _settled(house: House) -> dict[str, Told]:
    await house.see("three are at their end", lambda: house.open_deliveries() == 0)
    return await attempts(house, 2)
