"""How many workers there are, and what each of them may take."""

from typing import Literal

import pytest

from mta.config.settings import Settings
from mta.supervisor.share import share_of, workers_of


@pytest.mark.parametrize(
    ("wanted", "cores", "workers"),
    [("auto", 1, 1), ("auto", 2, 2), ("auto", 8, 8), ("auto", 64, 8), (1, 4, 1), (3, 1, 3), (16, 2, 16)],
)
def test_auto_is_one_a_core_up_to_eight(wanted: int | Literal["auto"], cores: int, workers: int) -> None:
    assert workers_of(Settings(hostname="mail.example.com", workers=wanted), cores) == workers


def settings(max_connections: int = 500, receive_memory: int = 256_000_000, to_others: int = 500) -> Settings:
    return Settings.model_validate(
        {
            "hostname": "mail.example.com",
            "submission": {"max_connections": max_connections, "receive_memory": receive_memory},
            "delivery": {"max_connections": to_others},
        }
    )


@pytest.mark.parametrize(
    ("workers", "connections", "memory", "to_others"),
    [(1, 500, 256_000_000, 500), (2, 250, 128_000_000, 250), (3, 167, 85_333_334, 167), (16, 32, 25_000_000, 32)],
)
def test_together_they_keep_the_ceilings_of_the_whole(
    workers: int, connections: int, memory: int, to_others: int
) -> None:
    share = share_of(settings(), workers)
    assert share.submission.max_connections == connections
    assert share.submission.receive_memory == memory, "never less than one message takes"
    assert share.delivery.max_connections == to_others


def test_one_connection_is_left_to_each() -> None:
    assert share_of(settings(max_connections=1), 8).submission.max_connections == 1


def test_all_else_stays_as_it_is() -> None:
    whole = settings()
    share = share_of(whole, 4)
    assert share.queue == whole.queue
    assert share.submission.max_connections_per_ip == whole.submission.max_connections_per_ip
