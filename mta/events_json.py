"""Events as JSON and back: the one form of the log, the store, webhooks and the API.

What does not apply is left out. Times are ISO 8601 in UTC, spans are seconds.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from mta.events import Event, EventType
from mta.mail.outcome import TlsUse, Try
from mta.mail.reply import EnhancedStatus, Reply

# writes what is in ASCII anyway; a tenth of the other's time
_FAST = msgspec.json.Encoder()
_ASCII = json.JSONEncoder(separators=(",", ":"))

_PLAIN = (
    "account",
    "stream",
    "tag",
    "message_id",
    "queue_id",
    "delivery_id",
    "recipient",
    "site",
    "source",
    "attempt",
    "metadata",
)
"""Fields whose name and value are the same on both sides."""


class _Written(Struct, omit_defaults=True, rename={"klass": "class"}):
    """An event as it is written: the names and their order."""

    id: str
    time: datetime | str
    type: EventType
    account: str | None = None
    stream: str | None = None
    tag: str | None = None
    message_id: str | None = None
    queue_id: str | None = None
    delivery_id: str | None = None
    recipient: str | None = None
    site: str | None = None
    source: str | None = None
    attempt: int | None = None
    metadata: str | None = None
    """The client's text, not parsed again."""
    reply: dict[str, Any] | None = None
    klass: str | None = None
    hardness: str | None = None
    tls: dict[str, Any] | None = None
    """In short, of the last host tried, which gave the event its reply."""
    tries: list[dict[str, Any]] | None = None
    duration: float | None = None
    detail: Mapping[str, Any] | None = None


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event as JSON values."""
    data: dict[str, Any] = msgspec.to_builtins(_written(event))
    return data


def event_to_text(event: Event) -> str:
    """Return an event as JSON text, in ASCII."""
    try:
        octets = _FAST.encode(_written(event))
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can write
        return _ASCII.encode(event_to_json(event))
    return octets.decode("ascii") if octets.isascii() else _ASCII.encode(json.loads(octets))


def event_from_json(data: Mapping[str, Any]) -> Event:
    """Read what `event_to_json` wrote. Unknown keys are passed over: an older program may read a newer store.

    Raises:
        ValueError: it is no event; the text names what is wrong.
    """
    try:
        duration = data.get("duration")
        reply = data.get("reply")
        return Event(
            id=data["id"],
            at=_time_from_json(data["time"]),
            type=EventType(data["type"]),
            **{name: data.get(name) for name in _PLAIN},
            reply=None if reply is None else _reply_from_json(reply),
            klass=data.get("class"),
            hardness=data.get("hardness"),
            tries=tuple(_try_from_json(one) for one in data.get("tries", ())),
            duration=None if duration is None else timedelta(seconds=duration),
            detail=dict(data.get("detail", {})),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an event: {type(error).__name__}: {error}") from None


def _written(event: Event) -> _Written:
    tls = event.tries[-1].tls if event.tries else None
    return _Written(
        event.id,
        _time_to_json(event.at),
        event.type,
        event.account,
        event.stream,
        event.tag,
        event.message_id,
        event.queue_id,
        event.delivery_id,
        event.recipient,
        event.site,
        event.source,
        event.attempt,
        event.metadata,
        None if event.reply is None else _reply_to_json(event.reply),
        event.klass,
        event.hardness,
        None if tls is None else _tls_in_short(tls),
        [_try_to_json(one) for one in event.tries] if event.tries else None,
        None if event.duration is None else event.duration.total_seconds(),
        event.detail or None,
    )


def _time_to_json(at: datetime) -> datetime | str:
    """A time in UTC, with microseconds. The library writes it so unless there are none."""
    if at.tzinfo is UTC and at.microsecond:
        return at
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _time_from_json(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return at.astimezone(UTC)


def _reply_to_json(reply: Reply) -> dict[str, Any]:
    return {"code": reply.code, "enhanced": None if reply.status is None else str(reply.status), "text": reply.text}


def _reply_from_json(data: Mapping[str, Any]) -> Reply:
    enhanced = data["enhanced"]
    return Reply(data["code"], None if enhanced is None else EnhancedStatus.parse(enhanced), data["text"])


def _tls_in_short(tls: TlsUse) -> dict[str, Any]:
    return {"version": tls.version, "cipher": tls.cipher, "policy": tls.policy, "verified": tls.verified}


def _tls_to_json(tls: TlsUse) -> dict[str, Any]:
    data = _tls_in_short(tls)
    if tls.proof:
        data["proof"] = tls.proof
    if tls.offered:
        data["offered"] = tls.offered
    return data


def _tls_from_json(data: Mapping[str, Any]) -> TlsUse:
    offered = data.get("offered", "")
    return TlsUse(
        version=data["version"],
        cipher=data["cipher"],
        policy=data["policy"],
        verified=data["verified"],
        proof=data.get("proof", ""),
        # before it was a text, it was a list
        offered=offered if isinstance(offered, str) else " ".join(offered),
    )


def _try_to_json(one: Try) -> dict[str, Any]:
    data: dict[str, Any] = {
        "host": one.host,
        "address": one.address,
        "port": one.port,
        "stage": one.stage,
        "reply": _reply_to_json(one.reply),
        "remote": one.remote,
        "duration": one.duration.total_seconds(),
    }
    if one.tls is not None:
        data["tls"] = _tls_to_json(one.tls)
    return data


def _try_from_json(data: Mapping[str, Any]) -> Try:
    tls = data.get("tls")
    return Try(
        host=data["host"],
        address=data["address"],
        port=data["port"],
        stage=data["stage"],
        reply=_reply_from_json(data["reply"]),
        remote=data["remote"],
        tls=None if tls is None else _tls_from_json(tls),
        duration=timedelta(seconds=data["duration"]),
    )
