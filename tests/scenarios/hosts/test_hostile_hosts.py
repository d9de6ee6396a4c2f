"""Hosts that answer nonsense, too much, too little, too slowly or not at all, seen through a whole server: what becomes
of the mail, and that nothing stays behind. All of them are played at once, each a domain with a host of its own."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from tests.delivery.peer import Answer, Peer
from tests.delivery.world import server_context
from tests.scenarios.conftest import Tell
from tests.scenarios.hosts.conduct import drip, flood, nothing, say_and_hang, say_and_hang_up, say_and_stop_reading
from tests.scenarios.hosts.footprint import Footprint
from tests.scenarios.hosts.street import Open, Street, address, open_street
from tests.scenarios.house import message
from tests.scenarios.receivers import Told

pytestmark = pytest.mark.slow

STEPWISE: tuple[str, ...] = ("SIZE",)
PIPELINING: tuple[str, ...] = ("PIPELINING",)
CHUNKING: tuple[str, ...] = ("PIPELINING", "CHUNKING")
LIMIT = "10s"
"""For every step. Short enough to wait for, and no honest host here needs so long."""
TIMEOUTS = (
    f'{{ connect = "{LIMIT}", greeting = "{LIMIT}", command = "{LIMIT}", data = "{LIMIT}", block = "{LIMIT}", '
    f'final = "{LIMIT}" }}'
)
# more than the buffers of both kernels hold
LARGE = message(("a@example.net",), body=("x" * 70 + "\n") * 200_000)
ROOM_FOR_NOISE = 8_000_000
"""Octets that a process may grow by while hundreds of megabytes come."""
MORE_THAN_AT_ONCE = 7
"""Recipients of one domain, of which at first five are tried at the same time."""


@dataclass(frozen=True)
class Case:
    """One host, and what becomes of the mail for it."""

    name: str
    answers: Mapping[str, Answer]
    said: str
    """How the outcome begins: its event, code and enhanced code."""
    stages: tuple[str, ...]
    """How far each connection came; empty where that is not the same for all recipients."""
    offers: tuple[str, ...] = PIPELINING
    tls: bool = False
    requires_tls: bool = False
    large: bool = False
    taken: int = 0
    """Messages that the host has taken, by its own count; an empty one for nobody is none."""
    text: str = ""
    """What stands in the reply."""
    recipients: int = 1
    verbs: tuple[str, ...] | None = field(default=None)
    """All commands that the host may ever hear."""

    @property
    def domain(self) -> str:
        """Whose host it is."""
        return f"{self.name}.example"

    @property
    def addresses(self) -> tuple[str, ...]:
        """To whom mail is sent."""
        return tuple(f"r{number}@{self.domain}" for number in range(self.recipients))

    @property
    def in_doubt(self) -> bool:
        """Whether the host may have taken it: all of it was sent, and nothing was said that can be understood."""
        return self.said.startswith("deferred") and self.stages[-1] == "dot" and not self.large

    def open(self, place: str, port: int) -> Peer:
        """Return the host."""
        tls = server_context() if self.tls else None
        peer = Peer(*self.offers, tls=tls, address=place, port=port)
        peer.answers.update(self.answers)
        return peer


GARBLED, LOST, SILENT = "deferred 451 4.5.0", "deferred 451 4.4.2", "deferred 451 4.4.2"
DELIVERED = "delivered 250 2.0.0"
# what is no reply, wherever it is said
NONSENSE: Mapping[str, bytes] = {
    "words": b"hello\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "tls-alert": b"\x15\x03\x01\x00\x02\x02\x46\n",
    "no-such-code": b"999 no such code\r\n",
    "four-digits": b"2500 ok\r\n",
    "binary": bytes(range(256)) + b"\r\n",
    "empty-line": b"\r\n",
    "long-line": b"250 " + b"x" * 5000 + b"\r\n",
}
STAGE = {"GREETING": "greeting", "EHLO": "ehlo", "MAIL": "mail", "RCPT": "rcpt", "DATA": "data", "DOT": "dot"}
STEPS = tuple(STAGE.items())


def _nonsense() -> list[Case]:
    cases = [
        Case(f"{kind}-in-greeting", {"GREETING": octets}, GARBLED, ("greeting",)) for kind, octets in NONSENSE.items()
    ]
    cases += [Case(f"words-to-{stage}", {verb: b"hello\r\n"}, GARBLED, (stage,)) for verb, stage in STEPS[1:]]
    cases += [
        Case("words-to-dot-chunking", {"DOT": b"hello\r\n"}, GARBLED, ("dot",), offers=CHUNKING),
        Case("greeting-250", {"GREETING": b"250 hi\r\n"}, GARBLED, ("greeting",)),
        Case("ehlo-354", {"EHLO": b"354 go on\r\n"}, GARBLED, ("ehlo",)),
        Case("mail-354", {"MAIL": b"354 go on\r\n"}, GARBLED, ("mail",)),
        Case("rcpt-354", {"RCPT": b"354 go on\r\n"}, GARBLED, ("rcpt",)),
        Case("data-250", {"DATA": b"250 ok\r\n"}, GARBLED, ("data",)),
        # it may have been taken: no second host is asked
        Case("dot-354", {"DOT": b"354 go on\r\n"}, GARBLED, ("dot",), taken=1),
    ]
    return cases


def _endless() -> list[Case]:
    cases = [
        Case(
            f"no-end-of-{stage}",
            {verb: b"250-more\r\n" * 100_000},
            GARBLED,
            (stage,),
            text="100 lines",
            taken=int(verb == "DOT"),
        )
        for verb, stage in STEPS
    ]
    cases += [
        Case(f"octet-a-second-{stage}", {verb: drip(b"2")}, SILENT, (stage,), offers=STEPWISE) for verb, stage in STEPS
    ]
    cases += [
        Case(f"line-a-second-{stage}", {verb: drip(b"250-more\r\n")}, SILENT, (stage,), offers=STEPWISE)
        for verb, stage in STEPS
    ]
    return cases


FLOODS: Mapping[str, bytes] = {
    "lines": b"220-" + b"x" * 500 + b"\r\n",
    "no-line-end": b"x",
    "nul": b"\0",
    "empty-lines": b"\r\n",
    "eight-bit": b"220-\xff\xfe\r\n",
    "greetings": b"220 hi\r\n",
}


def _floods(prefix: str = "flood") -> list[Case]:
    return [
        Case(
            f"{prefix}-{kind}",
            {"GREETING": flood(piece)},
            GARBLED,
            # the first of many greetings is a greeting
            ("ehlo",) if kind == "greetings" else ("greeting",),
        )
        for kind, piece in FLOODS.items()
    ]


EIGHT_BIT = b"gr\xfc\xdfe \xff\xfe \xc3\xbc \x00\x07\x1b[31m\x85"


def _eight_bit() -> list[Case]:
    return [
        Case("eight-bit-greeting", {"GREETING": b"220 " + EIGHT_BIT + b"\r\n"}, DELIVERED, ("dot",), taken=1),
        Case("eight-bit-keyword", {"EHLO": b"250-h\r\n250-\xff\xfe\r\n250 SIZE 0\r\n"}, DELIVERED, ("dot",), taken=1),
        Case("eight-bit-refusal", {"RCPT": b"550 5.1.1 " + EIGHT_BIT + b"\r\n"}, "bounced 550 5.1.1", ("rcpt",)),
        Case("eight-bit-delay", {"RCPT": b"450 4.2.0 " + EIGHT_BIT + b"\r\n"}, "deferred 450 4.2.0", ("rcpt",)),
        Case("eight-bit-taken", {"DOT": b"250 2.0.0 " + EIGHT_BIT + b"\r\n"}, DELIVERED, ("dot",), taken=1),
    ]


TWICE, THRICE = b"250 ok\r\n" * 2, b"250 ok\r\n" * 3


def _wrong_number() -> list[Case]:
    return [
        Case("missing-to-mail", {"MAIL": nothing}, GARBLED, ("rcpt",)),
        Case("missing-to-rcpt", {"RCPT": nothing}, GARBLED, ("rcpt",)),
        Case("missing-to-data", {"DATA": nothing}, SILENT, ("data",)),
        Case("missing-to-dot", {"DOT": nothing}, SILENT, ("dot",), taken=1),
        # nobody is trusted with a message in one flight at first sight
        Case("missing-to-rcpt-chunking", {"RCPT": nothing}, GARBLED, ("rcpt",), offers=CHUNKING),
        Case("greeted-twice", {"GREETING": b"220 hi\r\n220 hi\r\n"}, GARBLED, ("ehlo",)),
        Case("too-many-to-ehlo", {"EHLO": b"250-h\r\n250 PIPELINING\r\n250 ok\r\n"}, GARBLED, ("ehlo",)),
        Case("too-many-to-mail", {"MAIL": TWICE}, GARBLED, ("data",)),
        Case("too-many-to-rcpt", {"RCPT": TWICE}, GARBLED, ("data",)),
        Case("too-many-to-data", {"DATA": b"354 go\r\n354 go\r\n"}, GARBLED, ("data",)),
        Case("too-many-step-by-step", {"RCPT": TWICE}, GARBLED, ("data",), offers=STEPWISE),
        Case("too-many-to-rcpt-chunking", {"RCPT": TWICE}, GARBLED, ("data",), offers=CHUNKING),
        Case("far-too-many-to-rcpt-chunking", {"RCPT": THRICE}, GARBLED, ("data",), offers=CHUNKING),
        Case("too-many-to-dot", {"DOT": b"250 2.0.0 ok\r\n" * 2}, DELIVERED, ("dot",), taken=1),
        Case("too-many-before-two-chunks", {"RCPT": TWICE}, GARBLED, ("data",), offers=CHUNKING, large=True),
    ]


_TO_EHLO = b"220 go\r\n250-evil.example\r\n250 AUTH PLAIN\r\n"
INJECTED: Mapping[str, Answer] = {
    "reply": _TO_EHLO,
    "replies": _TO_EHLO + b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n250 2.0.0 taken\r\n",
    "half-a-reply": b"220 go\r\n2",
    "nonsense": b"220 go\r\nhello\r\n",
    "tls": b"220 go\r\n\x16\x03\x03",
    "reply-and-gone": say_and_hang_up(_TO_EHLO, 0),
}


def _starttls() -> list[Case]:
    """Without a demand for TLS, what is broken is gone without, and said; with one, mail waits."""
    broken = {
        "starttls-hang": None,
        "starttls-close": b"",
        "starttls-nonsense": b"hello\r\n",
        "handshake-hang": say_and_hang(b"220 go\r\n"),
        "handshake-close": say_and_hang_up(b"220 go\r\n"),
    }
    expected = {"starttls-nonsense": GARBLED, "starttls-hang": SILENT, "handshake-hang": SILENT}
    cases = []
    for name, answer in broken.items():
        plain = Case(name, {"STARTTLS": answer}, DELIVERED, ("starttls", "dot"), tls=True, taken=1)
        said = expected.get(name, "deferred 451 4.7.5")
        required = Case(f"required-{name}", {"STARTTLS": answer}, said, ("starttls",), tls=True, requires_tls=True)
        cases += [plain, required]
    cases += [
        Case(f"injected-{kind}", {"STARTTLS": answer}, GARBLED, ("starttls",), tls=True, verbs=("EHLO", "STARTTLS"))
        for kind, answer in INJECTED.items()
    ]
    return cases


def _silent() -> list[Case]:
    cases = [Case(f"hang-{stage}", {verb: None}, SILENT, (stage,)) for verb, stage in STEPS]
    cases += [Case(f"hang-{stage}-stepwise", {verb: None}, SILENT, (stage,), offers=STEPWISE) for verb, stage in STEPS]
    cases += [Case(f"hang-{stage}-chunking", {verb: None}, SILENT, (stage,), offers=CHUNKING) for verb, stage in STEPS]
    stop = say_and_stop_reading(b"354 go on\r\n")
    cases += [
        Case("hang-content", {"DATA": stop}, SILENT, ("data",), large=True),
        Case("hang-chunk", {"CHUNK": say_and_stop_reading(b"")}, SILENT, ("data",), offers=CHUNKING, large=True),
        Case("hang-quit", {"QUIT": None}, DELIVERED, ("dot",), taken=1),
    ]
    return cases


def _closing() -> list[Case]:
    cases = [Case(f"close-{stage}", {verb: b""}, LOST, (stage,)) for verb, stage in STEPS]
    cases += [Case(f"close-{stage}-stepwise", {verb: b""}, LOST, (stage,), offers=STEPWISE) for verb, stage in STEPS]
    cases += [Case(f"close-{stage}-chunking", {verb: b""}, LOST, (stage,), offers=CHUNKING) for verb, stage in STEPS]
    cut = say_and_hang_up(b"354 go on\r\n", 100_000)
    cases += [
        Case("close-content", {"DATA": cut}, LOST, ("data",), large=True),
        Case("close-chunk", {"CHUNK": say_and_hang_up(b"", 100_000)}, LOST, ("data",), offers=CHUNKING, large=True),
        Case("close-quit", {"QUIT": b""}, DELIVERED, ("dot",), taken=1),
    ]
    return cases


_NOBODY = {"RCPT": b"550 5.1.1 nobody\r\n", "DATA": b"554 5.5.1 for nobody\r\n"}


def _next_transaction() -> list[Case]:
    """What fails before anything of the next message was said is tried anew, over a fresh connection."""
    return [
        Case(
            f"{how}-reset-{way}",
            {**_NOBODY, "RSET": answer},
            "bounced 550 5.1.1",
            # what came before it is told, too
            (),
            offers=offers,
            recipients=MORE_THAN_AT_ONCE,
        )
        for way, offers in (("stepwise", STEPWISE), ("pipelining", PIPELINING))
        for how, answer in (("hang", None), ("close", b""), ("nonsense", b"hello\r\n"), ("refuse", b"502 no\r\n"))
    ]


CASES = {
    case.name: case
    for table in (
        _nonsense,
        _endless,
        _floods,
        _eight_bit,
        _wrong_number,
        _starttls,
        _silent,
        _closing,
        _next_transaction,
    )
    for case in table()
}
AGAIN = _floods("again")
# it ends each connection at once
HONEST = Case("honest", {"DOT": b"250 2.0.0 ok\r\n421 4.3.2 that is all\r\n"}, DELIVERED, ("dot",), taken=1)


@dataclass
class Played:
    """What became of it."""

    street: Street
    told: dict[str, Told]
    hosts: dict[str, Peer]
    before: Counter[str]
    """The server's descriptors when it had delivered one message, and had nothing to do."""


def _routes(port: int) -> str:
    demands = ((case.domain, address(number)) for number, case in enumerate(CASES.values()) if case.requires_tls)
    return "".join(
        f'\n[[route]]\ndomain = "{domain}"\nrelay = "smtp://{place}:{port}"\ntls = "require"\n'
        for domain, place in demands
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Played]:
    """All cases, played at once."""
    everybody = [*CASES.values(), HONEST, *AGAIN]
    hosts: list[tuple[str, Open]] = [(address(number), case.open) for number, case in enumerate(everybody)]
    folder = tmp_path_factory.mktemp("hosts") / "house"
    async with open_street(folder, hosts, timeouts=TIMEOUTS, routes=_routes) as street:
        for number, case in enumerate(everybody):
            street.house.names.add(case.domain, "MX", f"10 mx.{case.domain}.")
            street.house.names.add(f"mx.{case.domain}", "A", address(number))
        await street.send(HONEST.addresses)
        assert (await street.told(1))[HONEST.addresses[0]].type == "delivered"
        before = Footprint(street.house.server.pid).descriptors()
        small = [one for case in CASES.values() if not case.large for one in case.addresses]
        large = [one for case in CASES.values() if case.large for one in case.addresses]
        await street.send(small)
        await street.send(large, LARGE)
        told = await street.told(1 + len(small) + len(large))
        yield Played(
            street, told, {case.name: host for case, host in zip(everybody, street.hosts, strict=True)}, before
        )


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_a_hostile_host_gets_its_due(played: Played, name: str) -> None:
    case, host = CASES[name], played.hosts[name]
    for recipient in case.addresses:
        told = played.told[recipient]
        assert f"{told.type} {told.said}"[: len(case.said)] == case.said, told
        assert told.stages == case.stages or not case.stages, told
        assert case.text in told.said
        assert told.in_doubt == case.in_doubt
        assert told.said.isprintable()
    assert len([one for one in host.mails if one.content]) == case.taken
    if case.verbs is not None:
        assert tuple(host.verbs) == case.verbs
    for verb in {"RSET", "QUIT"} & set(case.answers):
        assert verb in host.verbs


@pytest.mark.asyncio(loop_scope="module")
async def test_no_connection_and_no_descriptor_stays_behind_hostile_hosts(played: Played) -> None:
    await played.street.left_alone(played.before)


@pytest.mark.asyncio(loop_scope="module")
async def test_hundreds_of_megabytes_of_greetings_cost_no_memory(played: Played, tell: Tell) -> None:
    footprint = Footprint(played.street.house.server.pid)
    footprint.forget_peak()
    before = footprint.resident()
    flooded = [one for case in AGAIN for one in case.addresses]
    await played.street.send(flooded)
    told = await played.street.told(len(played.told) + len(flooded))
    grown = footprint.peak() - before
    assert {told[one].said[:9] for one in flooded} == {"451 4.5.0"}
    tell(f"{len(flooded)} floods of 100 MB: the server grew by {grown:,} octets at the most")
    assert grown < ROOM_FOR_NOISE


@pytest.mark.asyncio(loop_scope="module")
async def test_hostile_hosts_cause_no_error_of_ours(played: Played) -> None:
    for word in ("Traceback", "never retrieved", "Internal error", "was destroyed"):
        assert played.street.house.logged(word) == 0, word
    host = played.hosts[HONEST.name]
    count = len(host.mails)
    await played.street.send(HONEST.addresses)
    await played.street.house.see("honest hosts are served", lambda: len(host.mails) > count)
