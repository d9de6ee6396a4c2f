"""What goes wrong around the server (receivers, DNS, operator): nothing is lost or doubled, and all mends by itself."""

import re
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path

import dns.message
import dns.name
import pytest

from mta.demo.dns import Failure, NameServer
from tests.scenarios.house import House, open_house
from tests.scenarios.sinks import Sink, Step, hanging_up

# receivers


@pytest.mark.slow
async def test_a_host_that_hangs_up_at_any_step_gets_the_message_once_it_stays(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        sinks: dict[str, Sink] = {}
        for step, pipelining in product(Step, (True, False)):
            sink = Sink(hanging_up(step), pipelining)
            sinks[f"{step}{'-at-once' if pipelining else ''}"] = await stack.enter_async_context(sink.listening())
        routes = "".join(
            f'[[route]]\ndomain = "{name}.example"\nrelay = "{sink.relay}"\n' for name, sink in sinks.items()
        )
        house = await stack.enter_async_context(open_house(tmp_path / "house", more=routes))
        queue_id = await house.submit(*(f"a@{name}.example" for name in sinks))
        await house.see("all is delivered", lambda: not house.open_deliveries())
        # twice only what was taken and not answered (RFC 1047); who hangs up after the answer has it
        copies = {name: 2 if name.startswith("dot") else 1 for name in sinks}
        assert {name: sink.taken.total() for name, sink in sinks.items()} == copies
        connections = {name: 1 if name.startswith("after") else 2 for name in sinks}
        assert {name: sink.connections for name, sink in sinks.items()} == connections
        (story,) = await house.why(queue_id)
        assert {delivery["state"] for delivery in story["deliveries"]} == {"delivered"}
        doubted = {event["recipient"] for event in story["events"] if event.get("detail", {}).get("in_doubt")}
        # the final dot of a short message is sent with its first line: nobody can tell how far the host had read
        assert doubted == {f"a@{name}.example" for name in sinks if name.startswith(("content", "dot"))}


# DNS


class Liar(NameServer):
    """Answers for some names under the wrong number, as somebody does who guesses."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._lying_about = {dns.name.from_text(name) for name in names}

    def tell_the_truth(self) -> None:
        """Answer all as they should be answered."""
        self._lying_about.clear()

    def reply(self, wire: bytes, *, over_tcp: bool) -> bytes | None:
        """Answer, perhaps under another number."""
        answer = super().reply(wire, over_tcp=over_tcp)
        asked = {question.name for question in dns.message.from_wire(wire).question}
        if answer is None or not asked & self._lying_about:
            return answer
        return bytes(octet ^ 0xFF for octet in answer[:2]) + answer[2:]


@pytest.mark.slow
async def test_mail_waits_for_dns(tmp_path: Path) -> None:
    failures = {f"{failure}.example": failure for failure in Failure}
    del failures[f"{Failure.NXDOMAIN}.example"], failures[f"{Failure.TRUNCATED}.example"]
    domains = [*failures, "wrong-id.example"]
    liar = Liar("wrong-id.example")
    async with open_house(tmp_path / "house", names=liar) as house:
        for domain in domains:
            house.names.add(domain, "MX", f"10 mx.{domain}.")
            house.names.add(f"mx.{domain}", "A", house.sink.host)
            house.names.fail(domain, failures.get(domain))
        queue_id = await house.submit(*(f"a@{domain}" for domain in domains))
        await house.see("all were asked for", lambda: set(_deferred(house)) == {f"a@{domain}" for domain in domains})
        (story,) = await house.why(queue_id)
        told = {event["reply"]["enhanced"] for event in story["events"] if event["type"] == "deferred"}
        assert told == {"4.4.3"}
        for domain in domains:
            house.names.fail(domain, None)
        liar.tell_the_truth()
        await house.see("all is delivered", lambda: not house.open_deliveries())
        assert sorted(to for (to,) in house.sink.recipients) == sorted(f"a@{domain}" for domain in domains)


def _deferred(house: House) -> list[str]:
    return [recipient for (recipient,) in house.rows("SELECT recipient FROM events WHERE type = 'deferred'")]


# the operator


NO_KEY = '[[domain]]\nname = "b.example"\ndkim = [{ selector = "x", key = "none.pem" }]'


@pytest.mark.parametrize(
    ("wrong", "line", "told"),
    [
        pytest.param("[queue]\nretries = []", 2, 'queue: unknown key "retries"; did you mean "retry"', id="a-typo"),
        pytest.param('[queue]\nmax_age = "soon"', 2, r"queue\.max_age: .*such as", id="no-duration"),
        pytest.param('[[route]]\ndomain = "a.example"', 1, "route.*relay.*hold", id="half-a-route"),
        pytest.param(NO_KEY, 3, 'domain "b.example": .*none.pem" does not exist; create it', id="no-key"),
    ],
)
async def test_a_broken_configuration_never_starts(tmp_path: Path, wrong: str, line: int, told: str) -> None:
    async with open_house(tmp_path / "house", start=False) as house:
        house.config.write_text(wrong)
        code, output = await house.server.command("serve")
        assert code == 78, output
        assert re.search(rf"scenario\.toml:{line}: {told}", output), output
        assert not (house.folder / "data" / "queue.db").exists()


async def test_a_second_server_is_told_of_the_first_and_does_it_no_harm(house: House) -> None:
    code, output = await house.server.command("serve")
    assert code == 78
    assert f"another mta already serves from {house.folder}/data (process {house.server.pid})" in output
    assert "Traceback" not in output
    await house.wait_for_states(await house.submit("a@example.net"), "delivered")


@pytest.mark.parametrize("listener", ["submission", "submission_tls", "submission_plain", "inbound", "http"])
async def test_a_port_that_is_taken_is_named_with_a_remedy(tmp_path: Path, house: House, listener: str) -> None:
    host, port = house.server.address(listener)
    section, _, rest = listener.partition("_")
    name = f"listen_{rest}" if rest else "listen"
    async with open_house(tmp_path / "other", start=False) as other:
        file = other.config if section == "http" else other.server.config
        before, heading, after = file.read_text().partition(f"[{section}]\n")
        taken = after.replace(f'{name} = ["127.0.0.1:0"]', f'{name} = ["{host}:{port}"]', 1)
        file.write_text(before + heading + taken)
        code, output = await other.server.command("serve")
        assert code == 78, output
        assert re.search(rf"{section}\.{name}: cannot listen on .*{port}.*: Address already in use; .*ss -ltnp", output)
        assert "Traceback" not in output
