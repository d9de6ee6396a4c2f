"""Ways to make a reader show another author than the one who was checked: refused, or everybody in them is checked.

Every row is a whole header section, since some of these ways need more than one field. Most have a name in the
literature: "splitting the e-mail atom", Mailsploit (encoded words in addresses), Weak Links (several or odd From
fields), CVE-2023-27043 (display names that parsers take for addresses).
"""

import pytest

from mta.accounts.account import Account
from mta.mail.header import Header
from mta.mail.intake import Intake, take_in
from mta.mail.reply import Reply
from mta.submission.rules import may_write_as
from tests.mail.circumstances import HOW

ACCOUNT = Account("shop", frozenset({"own.example", "xn--bcher-kva.example", "xn--strae-oqa.example"}))
OWN = "From: a@own.example\r\n"
BAD = "550 5.6.0"
FOREIGN = "550 5.7.1"


def answer(header: str | bytes) -> str:
    """What a client with `ACCOUNT` hears; empty when the message is taken."""
    octets = header if isinstance(header, bytes) else header.encode()
    intake = take_in(Header.parse(octets), HOW)
    refusal: Reply | None = may_write_as(ACCOUNT, intake) if isinstance(intake, Intake) else intake
    return "" if refusal is None else str(refusal)


@pytest.mark.parametrize(
    ("header", "reply"),
    [
        # several authors, several fields
        pytest.param("From: a@own.example, <b@evil.example>\r\n", FOREIGN, id="a second author behind a comma"),
        pytest.param("From: <b@evil.example>, a@own.example\r\n", FOREIGN, id="a first author before a comma"),
        pytest.param("From: a@own.example, b@own.example,\r\n c@evil.example\r\n", FOREIGN, id="folded away"),
        pytest.param(OWN + "From: b@evil.example\r\n", BAD, id="two From"),
        pytest.param("From: b@evil.example\r\n" + OWN, BAD, id="two From, the other first"),
        pytest.param(OWN + "FROM: b@evil.example\r\n", BAD, id="two From in other case"),
        pytest.param(OWN + "From : b@evil.example\r\n", BAD, id="two From, one with a blank before the colon"),
        pytest.param(OWN + "From\t: b@evil.example\r\n", BAD, id="two From, one with a tab before the colon"),
        pytest.param(OWN + "From\r\n : b@evil.example\r\n", BAD, id="two From, one folded before its colon"),
        pytest.param(OWN + "From:\r\n", BAD, id="two From, one empty"),
        pytest.param("From : a@own.example\r\n", BAD, id="a From that not all take for one"),
        pytest.param("From: a@own.example\r\n\tb@evil.example\r\n", BAD, id="a second author on a folded line"),
        pytest.param("From:\r\n\tb@evil.example\r\n", FOREIGN, id="the author on a folded line"),
        pytest.param("From:\r\n \r\n b@evil.example\r\n", FOREIGN, id="the author behind a folded blank line"),
        pytest.param("Subject: x\rFrom: b@evil.example\r\n" + OWN, BAD, id="a second From behind a bare CR"),
        pytest.param("Subject: x\nFrom: b@evil.example\r\n" + OWN, BAD, id="a second From behind a bare LF"),
        pytest.param("From: a@own.example\rFrom: b@evil.example\r\n", BAD, id="a second From inside, behind a bare CR"),
        pytest.param("From: a@own.example\x00, b@evil.example\r\n", BAD, id="an end at NUL"),
        pytest.param("\x00From: b@evil.example\r\n" + OWN, BAD, id="NUL before From"),
        pytest.param(" From: b@evil.example\r\n" + OWN, BAD, id="a first line that is a continuation"),
        pytest.param("From b@evil.example\r\n" + OWN, BAD, id="an mbox line"),
        pytest.param("From; b@evil.example\r\n" + OWN, BAD, id="no colon"),
        pytest.param("Fr\u043em: b@evil.example\r\n" + OWN, BAD, id="Cyrillic o in From, beside a From"),
        pytest.param("Fr\u043em: a@own.example\r\n", BAD, id="Cyrillic o in From, alone"),
        pytest.param("From\u200b: b@evil.example\r\n" + OWN, BAD, id="zero width space behind From"),
        pytest.param("\uff26rom: b@evil.example\r\n" + OWN, BAD, id="fullwidth F"),
        pytest.param("\ufeffFrom: b@evil.example\r\n" + OWN, BAD, id="byte order mark before From"),
        pytest.param(b"From\xa0: b@evil.example\r\n" + OWN.encode(), BAD, id="no-break space behind From"),
        pytest.param("From\x0b: b@evil.example\r\n" + OWN, BAD, id="vertical tab behind From"),
        pytest.param("Subject: x\r\n", BAD, id="no From"),
        pytest.param("From: \r\n", BAD, id="an empty From"),
        # who sends or resends for whom
        pytest.param(OWN + "Sender: b@evil.example\r\n", FOREIGN, id="Sender"),
        pytest.param(OWN + "Sender : b@evil.example\r\n", BAD, id="Sender with a blank before the colon"),
        pytest.param(OWN + "Sender: a@own.example\r\nSender: b@evil.example\r\n", BAD, id="two Sender"),
        pytest.param(OWN + "Resent-From: b@evil.example\r\n", FOREIGN, id="Resent-From"),
        pytest.param(OWN + "Resent-From: a@own.example, b@evil.example\r\n", FOREIGN, id="two in Resent-From"),
        pytest.param(
            OWN + "Resent-From: a@own.example\r\nResent-From: b@evil.example\r\n", FOREIGN, id="the second Resent-From"
        ),
        pytest.param(OWN + "Resent-Sender: b@evil.example\r\n", FOREIGN, id="Resent-Sender"),
        pytest.param(OWN + "Resent-Sender: =?utf-8?q?b=40evil?=\r\n", BAD, id="Resent-Sender that is none"),
        pytest.param("From: b@evil.example\r\nResent-From: a@own.example\r\n", FOREIGN, id="a foreign From, resent"),
        # syntax that is read in two ways
        pytest.param("From: a@own.example <b@evil.example>\r\n", BAD, id="an address as a name"),
        pytest.param("From: b@evil.example <a@own.example>\r\n", BAD, id="another address as a name"),
        pytest.param("From: <a@own.example><b@evil.example>\r\n", BAD, id="two addresses without a comma"),
        pytest.param("From: <a@own.example> b@evil.example\r\n", BAD, id="an address behind the brackets"),
        pytest.param("From: <b@evil.example\r\n", BAD, id="an open bracket"),
        pytest.param("From: a@own.example>, <b@evil.example>\r\n", BAD, id="a bracket closed and not opened"),
        pytest.param("From: <<b@evil.example>a@own.example>\r\n", BAD, id="brackets in brackets"),
        pytest.param("From: <@evil.example:a@own.example>\r\n", BAD, id="a source route"),
        pytest.param("From: <b@evil.example,a@own.example>\r\n", BAD, id="a comma in brackets"),
        pytest.param("From: b@evil.example,@own.example:a@own.example\r\n", BAD, id="a list that is a route"),
        pytest.param("From: evil.example!b@own.example@evil.example\r\n", BAD, id="two at signs"),
        pytest.param("From: all: a@own.example, b@evil.example;\r\n", BAD, id="a group"),
        pytest.param("From: b@evil.example:;\r\n", BAD, id="a group whose name is an address"),
        pytest.param("From: a@own.example;b@evil.example\r\n", BAD, id="a semicolon for a comma"),
        pytest.param("From: a@own.example b@evil.example\r\n", BAD, id="a blank for a comma"),
        pytest.param("From: b@evil.example a@own.example\r\n", BAD, id="a blank for a comma, the other first"),
        pytest.param("From: a@evil .own.example\r\n", BAD, id="obsolete: a blank in a domain"),
        pytest.param("From: b @ evil.example\r\n", BAD, id="obsolete: blanks around the at sign"),
        pytest.param("From: a@own.example\r\n .evil.example\r\n", BAD, id="a domain that goes on behind a fold"),
        pytest.param("From: ,,a@own.example\r\n", BAD, id="obsolete: empty list elements"),
        pytest.param("From: a@[192.0.2.1]\r\n", BAD, id="an address literal"),
        pytest.param("From: a\r\n", BAD, id="no domain"),
        pytest.param("From: a@own.example.\r\n", BAD, id="a dot behind the domain"),
        # quotes and comments
        pytest.param('From: "a@own.example" <b@evil.example>\r\n', FOREIGN, id="own address as a quoted name"),
        pytest.param('From: "a <b@evil.example>" <a@own.example>\r\n', BAD, id="brackets in a quoted name"),
        pytest.param(
            'From: "\\" <b@evil.example>, \\"" <a@own.example>\r\n', BAD, id="escaped quotes in a quoted name"
        ),
        pytest.param('From: "a\r\n', BAD, id="a quote that does not end"),
        pytest.param('From: " <b@evil.example>, a@own.example\r\n', BAD, id="a quote that does not end, with a list"),
        pytest.param('From: "a\\" <b@evil.example>, a@own.example\r\n', BAD, id="a quote that ends escaped"),
        pytest.param('From: a@own.example" <b@evil.example>"\r\n', BAD, id="a quote glued to an address"),
        pytest.param('From: "b@evil.example"@own.example\r\n', BAD, id="an address as a local part"),
        pytest.param('From: <"b@evil.example> "@own.example>\r\n', BAD, id="an address and its end as a local part"),
        pytest.param('From: "b@evil.example,"@own.example\r\n', BAD, id="a list as a local part"),
        pytest.param('From: "b@evil.example\\""@own.example\r\n', BAD, id="an escaped quote in a local part"),
        pytest.param("From: a@own.example (a comment\r\n", BAD, id="a comment that does not end"),
        pytest.param("From: a@own.example ((a) comment\r\n", BAD, id="a nested comment that does not end"),
        pytest.param("From: (\\) b@evil.example) a@own.example\r\n", BAD, id="an escaped end of a comment"),
        pytest.param("From: (b@evil.example) a@own.example\r\n", BAD, id="an address in a comment"),
        pytest.param("From: ((((b@evil.example)))) a@own.example\r\n", BAD, id="an address deep in comments"),
        pytest.param("From: <a@own.example(b@evil.example)>\r\n", BAD, id="a comment in brackets"),
        pytest.param("From: a(x)@own.example\r\n", BAD, id="a comment before the at sign"),
        pytest.param("From: a@(x)own.example\r\n", BAD, id="a comment behind the at sign"),
        pytest.param("From: a@evil.example(.own.example)\r\n", FOREIGN, id="a comment that ends a domain"),
        pytest.param("From: b@evil.example)(a@own.example\r\n", BAD, id="comments turned round"),
        # encoded words
        pytest.param("From: =?utf-8?q?b=40evil.example?=\r\n", BAD, id="nothing but an encoded word"),
        pytest.param("From: =?utf-8?q?b=40evil.example?= <a@own.example>\r\n", BAD, id="an encoded address as a name"),
        pytest.param("From: =?utf-8?b?YkBldmlsLmV4YW1wbGU=?= <a@own.example>\r\n", BAD, id="the same in base 64"),
        pytest.param("From: =?utf-8?B?YkBldmlsLmV4YW1wbGU?= <a@own.example>\r\n", BAD, id="base 64 without its end"),
        pytest.param("From: =?utf-7?q?b+AEA-evil.example?= <a@own.example>\r\n", BAD, id="the same in UTF-7"),
        pytest.param("From: =?utf-8*en?q?b=40evil.example?= <a@own.example>\r\n", BAD, id="with a language"),
        pytest.param("From: =?no-charset?q?b=40evil.example?= <a@own.example>\r\n", BAD, id="in an unknown charset"),
        pytest.param('From: "=?utf-8?q?b=40evil.example?=" <a@own.example>\r\n', BAD, id="an encoded word in quotes"),
        pytest.param("From: a@own.example (=?utf-8?q?b=40evil.example?=)\r\n", BAD, id="an encoded word in a comment"),
        pytest.param(
            "From: =?utf-8?q?b=40own.example?= =?utf-8?q?.evil.example?= <a@own.example>\r\n", BAD, id="cut in two"
        ),
        pytest.param(
            "From: =?utf-8?q?b=40own.example?=.evil.example <a@own.example>\r\n", BAD, id="going on behind its end"
        ),
        pytest.param(
            "From: =?utf-8?q?b?=\r\n =?utf-8?q?=40?=\r\n =?utf-8?q?evil.example?= <a@own.example>\r\n",
            BAD,
            id="in three",
        ),
        pytest.param("From: =?utf-8?q?b_=40_evil.example?= <a@own.example>\r\n", BAD, id="with blanks around its at"),
        pytest.param("From: =?utf-8?q?=3Cb=40x=3E=2C?= <a@own.example>\r\n", BAD, id="encoded brackets"),
        pytest.param("From: =?utf-8?q?x=0D=0AFrom:_b?= <a@own.example>\r\n", BAD, id="an encoded line end"),
        pytest.param("From: =?utf-8?q?b=00?= <a@own.example>\r\n", BAD, id="an encoded NUL"),
        pytest.param("From: =?utf-8?q?b=E2=80=A8?= <a@own.example>\r\n", BAD, id="an encoded line separator"),
        pytest.param(
            "From: =?utf-8?b?YkBldmlsLmV4YW1wbGU=?==?utf-8?Q?=00?=@own.example\r\n", BAD, id="Mailsploit with NUL"
        ),
        pytest.param(
            "From: =?utf-8?Q?=42=45=47=49=4E=0A=28b=40evil.example=29?=@own.example\r\n", BAD, id="Mailsploit with LF"
        ),
        pytest.param("From: =?utf-8?q?a?=@own.example\r\n", BAD, id="an encoded word for a local part"),
        pytest.param("From: =?x?q?b=40evil.example=3e=20?=a@own.example\r\n", BAD, id="splitting the e-mail atom"),
        pytest.param('From: "=?x?q?b=40evil.example?="@own.example\r\n', BAD, id="the same in a quoted local part"),
        # letters
        pytest.param("From: a@\u043ewn.example\r\n", FOREIGN, id="Cyrillic o in the domain"),
        pytest.param("From: a@own.example\u3002evil.example\r\n", BAD, id="an ideographic full stop"),
        pytest.param("From: a@own\uff0eexample\r\n", BAD, id="a fullwidth full stop"),
        pytest.param("From: a@\uff4fwn.example\r\n", BAD, id="a fullwidth letter in the domain"),
        pytest.param("From: a@own\u00ad.example\r\n", BAD, id="a soft hyphen in the domain"),
        pytest.param("From: a@own\u200b.example\r\n", BAD, id="a zero width space in the domain"),
        pytest.param("From: a@stra\u00dfe.example\r\n", BAD, id="a letter that old readers read as two"),
        pytest.param("From: b\uff20evil.example@own.example\r\n", BAD, id="a fullwidth at sign in the local part"),
        pytest.param("From: b@evil.example\uff20own.example\r\n", BAD, id="a fullwidth at sign in the domain"),
        pytest.param("From: \u202ea@own.example\r\n", BAD, id="writing turned round before the address"),
        pytest.param('From: "x\u202e" <a@own.example>\r\n', BAD, id="writing turned round in a name"),
        pytest.param('From: "x\u2066" <a@own.example>\r\n', BAD, id="writing isolated in a name"),
        pytest.param('From: "x\u2028From: b@evil.example" <a@own.example>\r\n', BAD, id="a line separator in a name"),
        pytest.param('From: "x\u0085From: b@evil.example" <a@own.example>\r\n', BAD, id="next line in a name"),
        pytest.param('From: "x\x0bFrom: b@evil.example" <a@own.example>\r\n', BAD, id="a vertical tab in a name"),
        pytest.param('From: "x\x0cFrom: b@evil.example" <a@own.example>\r\n', BAD, id="a form feed in a name"),
        pytest.param("From: x \x1b$B <a@own.example>\r\n", BAD, id="a name in ISO-2022-JP, not encoded"),
        pytest.param("From: x\x08\x08b@evil.example\r\n", BAD, id="backspaces"),
        pytest.param(b"From: a@own.example\xff\r\n", BAD, id="no UTF-8 in the domain"),
        pytest.param(b"From: \xff@own.example\r\n", BAD, id="no UTF-8 in the local part"),
        pytest.param(
            b'From: "\x83\\" <b@x>, \\"" <a@own.example>\r\n',
            BAD,
            id="a backslash that Shift_JIS takes for half a letter",
        ),
        pytest.param(b'From: "\x83\\" b" <a@own.example>\r\n', BAD, id="the same without brackets"),
        pytest.param("From: " + "b@evil.example, " * 2000 + "a@own.example\r\n", BAD, id="more than is ever read"),
    ],
)
def test_no_header_shows_an_author_who_was_not_checked(header: str | bytes, reply: str) -> None:
    assert answer(header).startswith(reply)


@pytest.mark.parametrize(
    "header",
    [
        OWN,
        "From: The Shop <a@own.example>\r\n",
        'From: "Müller, Hans" <a@own.example>\r\n',
        "From: =?utf-8?q?M=C3=BCller=2C_Hans?= <a@own.example>\r\n",
        'From: "jane@customer.example via Shop" <a@own.example>\r\n',
        "From: a@own.example,\r\n\tB <b@own.example>\r\nSender: a@own.example\r\n",
        "From: Bücher <a@bücher.example>\r\n",
        "From: Bücher <a@BÜCHER.example>\r\n",
        "From: Bücher <a@bu\u0308cher.example>\r\n",
        "From: a@xn--strae-oqa.example\r\n",
        b"From: M\xfcller <a@own.example>\r\n",
        OWN + "Resent-From: b@own.example\r\nResent-From: a@own.example\r\nResent-Sender: a@own.example\r\n",
        OWN + "Reply-To: jane@customer.example\r\n",
    ],
)
def test_what_honest_applications_write_is_taken(header: str | bytes) -> None:
    assert answer(header) == ""
