"""Header sections: any octets are read and printed as they are; what the door lets in lost only what is documented."""

from datetime import UTC, datetime

from mta.mail.header import Field, Header, read_name, split
from mta.mail.intake import Circumstances, Intake, received, take_in
from mta.mail.reply import Reply, clean

HOW = Circumstances(
    "0123456789abcdef", datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC), "mail.example.com", "x.example", "ESMTPSA"
)
_BREAKS = frozenset("\r\n\0\x85\u2028\u2029")
_GONE = ("bcc", "resent-bcc", "return-path", "x-mta-", "date", "message-id")


def check(octets: bytes) -> None:
    """Read octets as a message, as a header section, and as one with an author."""
    head, body = split(octets)
    assert head in (b"", octets) or head + b"\r\n" + body == octets
    for section in (octets, b"From: a@own.example\r\n" + octets):
        header = Header.parse(section)
        assert bytes(header) in (section, section + b"\r\n")
        assert Header.parse(bytes(header)) == header
        intake = take_in(header, HOW)
        if isinstance(intake, Reply):
            assert intake.is_permanent
            assert not _BREAKS & set("".join(intake.lines()))
        else:
            _check(header, intake)


def _check(came: Header, intake: Intake) -> None:
    octets = bytes(intake.header)
    assert b"\0" not in octets
    assert octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n")
    assert b"\r\n\r\n" not in octets
    assert octets.endswith(b"\r\n")
    # read again, it has the same fields, and each is one for every reader
    assert Header.parse(octets) == intake.header
    assert all(read_name(one.raw)[1] for one in intake.header.fields)
    names = [one.name for one in intake.header.fields]
    assert names.count("from") == 1
    assert {"date", "message-id"} <= set(names)
    assert not any(name in _GONE[:3] or name.startswith(_GONE[3]) for name in names)
    # what a reader finds who unfolds before it looks for names
    unfolded = octets.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t").split(b"\r\n")
    assert len(unfolded) == len(names) + 1
    added = [Field(received(HOW))]
    kept = [one for one in intake.header.fields if one not in added]
    left = iter(came.fields)
    assert all(one in left for one in kept if one.name not in _GONE[4:])
    assert intake.originators
    assert intake.message_id == clean(intake.message_id)
    assert intake.message_id
    for value in (intake.control.tag, intake.control.topic, intake.control.pool):
        assert value is None or value == clean(value)
