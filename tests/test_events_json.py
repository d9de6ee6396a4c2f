"""Events go into JSON and come back the same."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events import Event, EventType
from mta.events_json import event_from_json, event_to_json, event_to_text
from mta.mail.outcome import TlsUse, Try
from mta.mail.reply import EnhancedStatus, Reply

words = st.text(max_size=20)
maybe = st.none() | words
spans = st.timedeltas(timedelta(0), timedelta(days=30))
statuses = st.builds(EnhancedStatus, st.sampled_from([2, 4, 5]), st.integers(0, 999), st.integers(0, 999))
replies = st.builds(Reply, st.integers(200, 599), st.none() | statuses, words)
tls = st.builds(TlsUse, words, words, words, st.booleans(), words, words)
tries = st.builds(Try, words, words, st.integers(1, 65535), words, replies, st.booleans(), st.none() | tls, spans)
details = st.dictionaries(
    words, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
)
events = st.builds(
    Event,
    id=words,
    at=st.datetimes(timezones=st.just(UTC)),
    type=st.sampled_from(EventType),
    account=maybe,
    stream=maybe,
    tag=maybe,
    message_id=maybe,
    queue_id=maybe,
    delivery_id=maybe,
    recipient=maybe,
    site=maybe,
    source=maybe,
    attempt=st.none() | st.integers(0, 1000),
    reply=st.none() | replies,
    klass=maybe,
    hardness=maybe,
    tries=st.lists(tries, max_size=3).map(tuple),
    duration=st.none() | spans,
    metadata=maybe,
    detail=details,
)


@given(events)
def test_reading_what_was_written_gives_the_same_event(event: Event) -> None:
    assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event


@given(events)
def test_as_text_it_is_the_same_json_in_ascii_whatever_is_in_it(event: Event) -> None:
    text = event_to_text(event)
    assert text.isascii()
    assert list(json.loads(text).items()) == list(json.loads(json.dumps(event_to_json(event))).items())


@pytest.mark.parametrize("said", ["a", "ü", "\ud800", "\x00\x1f\x7f\u2028"])
def test_text_of_strangers_is_written_so_that_any_reader_takes_it(said: str) -> None:
    event = Event("0a", datetime(2026, 11, 22, tzinfo=UTC), EventType.HELD, tag=said, detail={said: said, "n": 10**30})
    read = json.loads(event_to_text(event).encode("ascii"))
    assert (read["time"], read["tag"]) == ("2026-11-22T00:00:00.000000Z", said)
    assert read["detail"] == {said: said, "n": 10**30}


def test_an_event_has_the_names_that_operators_and_programs_know() -> None:
    refused = Reply.of(550, "5.1.1", "no such user")
    secure = TlsUse("TLSv1.3", "TLS_AES_256_GCM_SHA384", "opportunistic", True)
    event = Event(
        "0a",
        datetime(2026, 11, 22, 12, 0, 0, 1000, tzinfo=UTC),
        EventType.BOUNCED,
        queue_id="0b",
        recipient="a@example.net",
        reply=refused,
        klass="bad_mailbox",
        hardness="hard",
        tries=(Try("mx.example.net", "192.0.2.1", 25, "rcpt", refused, True, secure, timedelta(seconds=1)),),
        duration=timedelta(milliseconds=1500),
    )
    tls = {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "policy": "opportunistic", "verified": True}
    reply = {"code": 550, "enhanced": "5.1.1", "text": "no such user"}
    assert event_to_json(event) == {
        "id": "0a",
        "time": "2026-11-22T12:00:00.001000Z",
        "type": "bounced",
        "queue_id": "0b",
        "recipient": "a@example.net",
        "reply": reply,
        "class": "bad_mailbox",
        "hardness": "hard",
        "tls": tls,
        "tries": [
            {
                "host": "mx.example.net",
                "address": "192.0.2.1",
                "port": 25,
                "stage": "rcpt",
                "reply": reply,
                "remote": True,
                "duration": 1.0,
                "tls": tls,
            }
        ],
        "duration": 1.5,
    }


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"id": "0a", "time": "yesterday", "type": "accepted"},
        {"id": "0a", "time": "2026-11-22T12:00:00", "type": "accepted"},
        {"id": "0a", "time": 5, "type": "accepted"},
        {"id": "0a", "time": "2026-11-22T12:00:00Z", "type": "invented"},
        {"id": "0a", "time": "2026-11-22T12:00:00Z", "type": "accepted", "reply": {"code": 250}},
        {"id": "0a", "time": "2026-11-22T12:00:00Z", "type": "accepted", "reply": "250 Ok"},
        {"id": "0a", "time": "2026-11-22T12:00:00Z", "type": "accepted", "tries": [1]},
        {"id": "0a", "time": "2026-11-22T12:00:00Z", "type": "accepted", "duration": 1e300},
    ],
)
def test_what_is_no_event_is_a_value_error(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        event_from_json(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["id", "time", "type", "reply", "tries", "duration", "detail"]), json_values))
def test_any_json_gives_an_event_or_a_value_error(data: dict[str, object]) -> None:
    event = {"id": "0a", "time": "2026-11-22T12:00:00Z", "type": "accepted"} | data
    with contextlib.suppress(ValueError):
        event_from_json(event)


def test_what_a_host_offered_stands_once_for_each_try() -> None:
    use = TlsUse("TLSv1.3", "x", "dane", True, "TLSA 3 1 1 matches", "PIPELINING SIZE=1000 STARTTLS")
    one = Try("mx.example.net", "192.0.2.1", 25, "dot", Reply.of(250, "2.0.0", "ok"), True, use)
    event = Event("0a", datetime(2026, 11, 22, tzinfo=UTC), EventType.DELIVERED, tries=(one, one))
    text = json.dumps(event_to_json(event))
    assert (text.count("PIPELINING SIZE=1000 STARTTLS"), text.count("TLSA 3 1 1")) == (2, 2)


def test_what_older_programs_wrote_of_offers_is_still_read() -> None:
    use = TlsUse("TLSv1.3", "x", "dane", offered="DSN SIZE")
    one = Try("mx.example.net", "192.0.2.1", 25, "dot", Reply.of(250, "2.0.0", "ok"), True, use)
    event = Event("0a", datetime(2026, 11, 22, tzinfo=UTC), EventType.DELIVERED, tries=(one,))
    data = event_to_json(event)
    data["tries"][0]["tls"]["offered"] = ["DSN", "SIZE"]
    assert event_from_json(data) == event
    del data["tries"][0]["tls"]["offered"]
    (read,) = event_from_json(data).tries
    assert read.tls is not None
    assert read.tls.offered == ""
