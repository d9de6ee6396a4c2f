"""The timer of a connection's waits, on a loop whose clock is turned by hand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from mta.smtp.alarm import Alarm


@dataclass
class Timer:
    at: float
    call: Callable[[], None]
    cancelled: bool = False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Loop:
    """As much of a loop as an alarm needs."""

    now: float = 100.0
    timers: list[Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if not timer.cancelled and timer.at <= self.now]:
            self.timers.remove(timer)
            timer.call()

    @property
    def standing(self) -> int:
        return sum(not timer.cancelled for timer in self.timers)


@dataclass
class Bell:
    rung: int = 0

    def ring(self) -> None:
        self.rung += 1


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def alarm(loop: Loop, bell: Bell) -> Alarm:
    return Alarm(cast(asyncio.AbstractEventLoop, cast(Any, loop)), bell.ring)


def test_it_rings_once_when_a_wait_has_taken_its_time(loop: Loop, bell: Bell, alarm: Alarm) -> None:
    alarm.set(5)
    loop.go_on(4.9)
    assert bell.rung == 0
    loop.go_on(0.2)
    loop.go_on(100)
    assert bell.rung == 1


def test_it_is_silent_when_the_wait_was_over(loop: Loop, bell: Bell, alarm: Alarm) -> None:
    alarm.set(5)
    alarm.clear()
    loop.go_on(100)
    assert (bell.rung, loop.standing) == (0, 0)


def test_many_waits_one_after_another_need_one_timer(loop: Loop, bell: Bell, alarm: Alarm) -> None:
    for _ in range(100):
        alarm.set(5)
        loop.go_on(1)
        alarm.clear()
        assert loop.standing <= 1
    assert bell.rung == 0
    alarm.set(5)
    loop.go_on(4)
    assert bell.rung == 0
    loop.go_on(1)
    assert bell.rung == 1


def test_a_shorter_wait_is_not_kept_until_a_longer_one_before_it_would_have_ended(
    loop: Loop, bell: Bell, alarm: Alarm
) -> None:
    alarm.set(300)
    alarm.clear()
    alarm.set(2)
    loop.go_on(2)
    assert (bell.rung, loop.standing) == (1, 0)


def test_after_the_end_nothing_is_left_behind(loop: Loop, bell: Bell, alarm: Alarm) -> None:
    alarm.set(5)
    alarm.close()
    loop.go_on(100)
    assert (bell.rung, loop.standing) == (0, 0)
