"""Mailboxes, paths and domains: any text is one, in one form, or a ValueError."""

from mta.mail.address import MAX_PATH, ForwardPath, Mailbox, ReversePath, parse_domain
from mta.mail.reply import clean


def check(octets: bytes) -> None:
    """Read octets as every notation of the grammar, with and without SMTPUTF8."""
    text = octets.decode("utf-8", "surrogateescape")
    _check_domain(text)
    for utf8 in (False, True):
        _check_mailbox(text, utf8=utf8)
        _check_paths(text, utf8=utf8)


def _check_domain(text: str) -> None:
    try:
        domain = parse_domain(text)
    except ValueError as error:
        _check_message(error)
        return
    assert domain.isascii()
    assert domain == domain.lower()
    assert set(domain) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert len(domain) <= 253
    assert all(0 < len(label) <= 63 and label.strip("-") == label for label in domain.split("."))
    assert not domain.rpartition(".")[2].isdigit()
    assert parse_domain(domain) == domain
    assert parse_domain(text.upper() if text.isascii() else text) == domain


def _check_mailbox(text: str, *, utf8: bool) -> None:
    try:
        mailbox = Mailbox.parse(text, utf8=utf8)
    except ValueError as error:
        _check_message(error)
        return
    written = str(mailbox)
    assert Mailbox.parse(written, utf8=utf8) == mailbox
    assert clean(written) == written
    assert utf8 or written.isascii()
    assert mailbox.is_ascii == written.isascii()
    assert 0 < len(mailbox.local_part.encode("utf-8")) <= 64
    assert mailbox.domain == parse_domain(text.rpartition("@")[2])
    # with SMTPUTF8, more is taken, and nothing is taken for something else
    assert Mailbox.parse(text, utf8=True) == mailbox


def _check_paths(text: str, *, utf8: bool) -> None:
    for path, kind in (
        (text, ForwardPath),
        (f"<{text}>", ForwardPath),
        (text, ReversePath),
        (f"<{text}>", ReversePath),
    ):
        try:
            mailbox = kind.parse(path, utf8=utf8).mailbox
        except ValueError as error:
            _check_message(error)
            continue
        if mailbox is None:
            assert path == "<>"
            continue
        assert path.startswith("<")
        assert path.endswith(">")
        assert Mailbox.parse(path[1:-1], utf8=utf8) == mailbox
        assert len(f"<{mailbox}>".encode()) <= MAX_PATH
        assert kind.parse(f"<{mailbox}>", utf8=utf8).mailbox == mailbox


def _check_message(error: ValueError) -> None:
    """It becomes a reply: short, and on one line once it is cleaned."""
    assert len(str(error)) < 1000
    assert "\n" not in str(error)
