"""What only the network tells, by a network of the tests' own."""

import pytest

from mta.doctor.finding import Verdict
from mta.doctor.outside import block_lists, port_25
from tests.doctor.names import FakeNames

MX = FakeNames(hosts={"one.example": ("mx.one.example",), "two.example": ("mx.two.example",)})


class Network:
    """Hosts that greet; others time out."""

    def __init__(self, **greetings: str) -> None:
        self._greetings = greetings

    async def greet(self, host: str) -> str:
        if host not in self._greetings:
            raise TimeoutError
        return self._greetings[host]


async def test_one_host_that_answers_suffices() -> None:
    network = Network(**{"mx.two.example": "220 hello"})
    (found,) = await port_25(MX, network.greet, ("one.example", "two.example"))
    assert (found.verdict, found.where) == (Verdict.OK, "mx.two.example")


async def test_a_blocked_port_is_a_failure_that_names_all_that_was_tried() -> None:
    names = FakeNames(hosts=MX.hosts, silent={"two.example"})
    (found,) = await port_25(names, Network().greet, ("one.example", "two.example", "three.example"))
    assert found.verdict is Verdict.FAIL
    for said in ("mx.one.example: no answer in time", "two.example: SERVFAIL", "three.example: no MX record"):
        assert said in found.what


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ((), Verdict.OK),
        (("127.0.0.2",), Verdict.FAIL),
        (("127.0.0.2", "127.0.0.9"), Verdict.FAIL),
        (("127.255.255.254",), Verdict.SKIPPED),
        (("203.0.113.1",), Verdict.WARN),
    ],
)
@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("192.0.2.9", "9.2.0.192.list.example"),
        ("2001:db8::1", f"1.{'0.' * 23}8.b.d.0.1.0.0.2.list.example"),
    ],
)
async def test_a_list_says_whether_an_address_is_on_it(
    address: str, asked: str, answers: tuple[str, ...], verdict: Verdict
) -> None:
    (found,) = await block_lists(FakeNames(at={asked: answers}), [address], ["list.example"])
    assert found.verdict is verdict


async def test_a_list_that_does_not_answer_says_nothing() -> None:
    names = FakeNames(silent={"9.2.0.192.list.example"})
    (found,) = await block_lists(names, ["192.0.2.9"], ["list.example"])
    assert found.verdict is Verdict.SKIPPED


async def test_without_an_address_nothing_is_asked() -> None:
    (found,) = await block_lists(FakeNames(), [], ["list.example"])
    assert found.verdict is Verdict.SKIPPED
