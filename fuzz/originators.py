"""From fields: any octets are authors whom every reader sees, or a ValueError."""

import email.utils
import re
from email.errors import MessageError
from email.header import decode_header, make_header

from mta.mail.address import Mailbox
from mta.mail.originators import parse_mailbox_list
from mta.mail.reply import clean

_ADDRESS = re.compile(r"[A-Za-z0-9]@([A-Za-z0-9.-]*[A-Za-z0-9]\.[A-Za-z0-9.-]*[A-Za-z0-9])")
_SIMPLE = re.compile(rb"[A-Za-z0-9 ,.<>@]*")


def check(octets: bytes) -> None:
    """Read octets as the value of a From field."""
    try:
        mailboxes = parse_mailbox_list(octets)
    except ValueError as error:
        assert len(str(error)) < 1000
        return
    text = octets.decode("utf-8", "surrogateescape")
    assert 0 < len(mailboxes) <= text.count("@")
    assert not set(text) & set("\r\n\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
    for mailbox in mailboxes:
        written = str(mailbox)
        assert clean(written) == written
        assert mailbox.local_part in text or mailbox.local_part in text.replace("\\", "").replace('"', "")
        assert "=?" not in written
        # printed alone, it is still the only author
        assert parse_mailbox_list(written.encode()) == (mailbox,)
        assert parse_mailbox_list(f'"A, B" <{written}> (C)'.encode()) == (mailbox,)
    assert parse_mailbox_list(", ".join(map(str, mailboxes)).encode()) == mailboxes
    _check_with_hasty_reader(text, mailboxes)
    if _SIMPLE.fullmatch(octets):
        _check_with_another_reader(text, mailboxes)


def _check_with_another_reader(text: str, mailboxes: tuple[Mailbox, ...]) -> None:
    """Where there are neither quotes nor comments, the standard library's lenient reader sees the same people."""
    seen = [address for _, address in email.utils.getaddresses([text])]
    assert [address.lower() for address in seen] == [str(mailbox).lower() for mailbox in mailboxes]


def _check_with_hasty_reader(text: str, mailboxes: tuple[Mailbox, ...]) -> None:
    """Who decodes encoded words first and looks for addresses then finds none that was not there before."""
    try:
        read = str(make_header(decode_header(text)))
    except (MessageError, LookupError, ValueError):
        return
    domains = {match[1].lower() for match in _ADDRESS.finditer(read)} - {
        match[1].lower() for match in _ADDRESS.finditer(text)
    }
    assert domains <= {mailbox.domain for mailbox in mailboxes}
