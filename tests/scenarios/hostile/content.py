"""What follows DATA: other ends than CRLF.CRLF, flawed octets, and headers that deceive. No refusal puts client and
server out of step."""

from tests.scenarios.hostile.case import ACCEPTED, DATA, HEADER, IN, MAIL, OPEN, RCPT, RECIPIENT, SENDER, Case, say

MAX_MESSAGE_SIZE = 400_000
"""Octets that the server of these dialogues takes."""
_FLAWED = "550 5.6.0"
_NOT_YOURS = "550 5.7.1"
_QUEUED = (RECIPIENT,)
_SMUGGLED = (
    b"MAIL FROM:<app@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\n" + HEADER + b"\r\nsmuggled\r\n.\r\n"
)

# what other servers took for the end of the content; each once made some of them read a second message out of the first
_ENDS = {
    "CVE-2023-51764, LF.CRLF": b"\n.\r\n",
    "CVE-2023-51764, LF.LF": b"\n.\n",
    "CVE-2023-51766, CRLF.LF": b"\r\n.\n",
    "CVE-2023-51766, LF.CRLF after CRLF": b"\r\n\n.\r\n",
    "CVE-2024-27305, CR.CR": b"\r.\r",
    "CVE-2024-27305, CRLF.CR": b"\r\n.\r",
    "CR.LF": b"\r.\n",
    "LF.CR": b"\n.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRLF NUL.CRLF": b"\r\n\0.\r\n",
    "CRLF.NUL CRLF": b"\r\n.\0\r\n",
    "LF.CRCRLF": b"\n.\r\r\n",
}

_BODIES = {
    "a bare CR": b"a\rb\r\n",
    "a bare LF": b"a\nb\r\n",
    "CR before the end": b"a\r\r\n",
    "LF before the end": b"a\n\r\n",
    "a NUL": b"a\0b\r\n",
    "a bare LF and a dot": b"a\n.b\r\n",
    "lines that end in LF alone": b"one\ntwo\nthree\n\r\n",
}

_HEADERS = {
    "no content at all": (b"", _FLAWED),
    "no header": (b"\r\nGood morning.\r\n", _FLAWED),
    "no From": (b"Subject: x\r\n\r\n", _FLAWED),
    "From in the body alone": (b"Subject: x\r\n\r\nFrom: app@example.com\r\n", _FLAWED),
    "two From": (HEADER + b"From: app@example.com\r\n\r\n", _FLAWED),
    "two From, one of them in another case": (HEADER + b"fRoM: ceo@example.org\r\n\r\n", _FLAWED),
    "two From, one of them with a blank before its colon": (HEADER + b"From : ceo@example.org\r\n\r\n", _FLAWED),
    "two From, one of them folded before its colon": (HEADER + b"From\r\n : ceo@example.org\r\n\r\n", _FLAWED),
    "From of somebody else": (b"From: ceo@example.org\r\n\r\n", _NOT_YOURS),
    "From of somebody else, folded": (b"From:\r\n ceo@example.org\r\n\r\n", _NOT_YOURS),
    "From of somebody else behind ours": (b"From: app@example.com,\r\n\tceo@example.org\r\n\r\n", _NOT_YOURS),
    "From with ours as its name": (b'From: "app@example.com" <ceo@example.org>\r\n\r\n', _NOT_YOURS),
    "From with ours as an encoded word": (b"From: =?utf-8?q?app=40example.com?= <ceo@example.org>\r\n\r\n", _FLAWED),
    "From with ours in a comment": (b"From: ceo@example.org (app@example.com)\r\n\r\n", _FLAWED),
    "From with ours before the brackets": (b"From: app@example.com <ceo@example.org>\r\n\r\n", _FLAWED),
    "From with two pairs of brackets": (b"From: <app@example.com> <ceo@example.org>\r\n\r\n", _FLAWED),
    "From with a route": (b"From: <@example.com:ceo@example.org>\r\n\r\n", _FLAWED),
    "From with a group": (b"From: us: app@example.com;\r\n\r\n", _FLAWED),
    "From without a domain": (b"From: app\r\n\r\n", _FLAWED),
    "From without a value": (b"From:\r\n\r\n", _FLAWED),
    "From with a line separator": ("From: app@example.com\u2028, ceo@example.org\r\n\r\n".encode(), _FLAWED),
    "From of a domain that ends like ours": (b"From: app@notexample.com\r\n\r\n", _NOT_YOURS),
    "Sender of somebody else": (HEADER + b"Sender: ceo@example.org\r\n\r\n", _NOT_YOURS),
    "two Sender": (HEADER + b"Sender: app@example.com\r\nSender: app@example.com\r\n\r\n", _FLAWED),
    "a first line that continues": (b" x\r\n" + HEADER + b"\r\n", _FLAWED),
    "a line that is no field": (HEADER + b"no field\r\n\r\n", _FLAWED),
    "a field without a name": (HEADER + b": x\r\n\r\n", _FLAWED),
    "a control field with a value of nobody's": (HEADER + b"X-MTA-Stream: spam\r\n\r\n", _FLAWED),
    "a control field twice": (HEADER + b"X-MTA-Tag: a\r\nX-MTA-Tag: b\r\n\r\n", _FLAWED),
    "a control field that is no JSON": (HEADER + b"X-MTA-Metadata: " + b"[" * 900 + b"\r\n\r\n", _FLAWED),
    "101 Received": (b"Received: x\r\n" * 101 + HEADER + b"\r\n", "554 5.4.6"),
    "101 Received in other cases": (b"rEcEiVeD: x\r\n" * 101 + HEADER + b"\r\n", "554 5.4.6"),
    "a header of 300 kilobytes": (HEADER + b"X: x\r\n" * 50_000 + b"\r\n", "552 5.3.4"),
    "a line of 999 octets": (HEADER + b"\r\n" + b"x" * 999 + b"\r\n", "554 5.6.0"),
    "a line of 999 octets in the header": (HEADER + b"X: " + b"x" * 996 + b"\r\n\r\n", "554 5.6.0"),
    "a line of 999 octets and a dot": (HEADER + b"\r\n.." + b"x" * 998 + b"\r\n", "554 5.6.0"),
    "a line of 100 kilobytes": (HEADER + b"\r\n" + b"x" * 100_000 + b"\r\n", "554 5.6.0"),
    "too many octets": (HEADER + b"\r\n" + b"x" * 78 + b"\r\n" * MAX_MESSAGE_SIZE, "552 5.3.4"),
}

_TAKEN = {
    "100 Received": b"Received: x\r\n" * 100 + HEADER + b"\r\n",
    "a line of 998 octets": HEADER + b"\r\n" + b"x" * 998 + b"\r\n",
    "8-bit without BODY": HEADER + b"\r\nGr\xc3\xbc\xc3\x9fe\r\n",
    "8-bit that is no UTF-8": HEADER + b"Comments: \xff\r\n\r\n\xff\xfe\r\n",
    "control characters that are no line ends": HEADER + b"\r\n\x01\x02\x07\x08\x0b\x0c\x1b[2J\x7f\r\n",
    "dots that are stuffed": HEADER + b"\r\n..\r\n...\r\n..x\r\n",
    "a dot that is not stuffed": HEADER + b"\r\n.x\r\n",
    "commands as text": HEADER + b"\r\nRSET\r\nQUIT\r\nMAIL FROM:<x@example.org>\r\n",
    "no body": HEADER,
    "Bcc and what is ours": HEADER + b"Bcc: c@example.org\r\nReturn-Path: <x@example.org>\r\nX-MTA-Unknown: x\r\n\r\n",
}


CASES = (
    *(
        Case(
            f"smuggling: {name}",
            "RFC 5321 §4.1.1.4",
            (*OPEN, DATA, say(HEADER + b"\r\nGood morning." + end + _SMUGGLED, _FLAWED)),
        )
        for name, end in _ENDS.items()
    ),
    *(
        Case(f"content: {name}", "RFC 5321 §2.3.8", (*OPEN, DATA, say(HEADER + b"\r\n" + body + b".\r\n", _FLAWED)))
        for name, body in _BODIES.items()
    ),
    *(
        Case(f"content: {name}", "RFC 5322 §3.6", (*OPEN, DATA, say(content + b".\r\n", reply)))
        for name, (content, reply) in _HEADERS.items()
    ),
    *(
        Case(f"content: {name}", "RFC 5321 §4.5.3.1.6", (*OPEN, DATA, say(content + b".\r\n", ACCEPTED)), _QUEUED)
        for name, content in _TAKEN.items()
    ),
    Case(
        "too many octets, and SIZE said so",
        "RFC 1870 §6.1",
        (*IN, say(f"MAIL FROM:<{SENDER}> SIZE={MAX_MESSAGE_SIZE + 1}", "552 5.3.4"), MAIL),
    ),
    Case(
        "too many octets, and SIZE said otherwise",
        "RFC 1870 §6.3",
        (
            *IN,
            say(f"MAIL FROM:<{SENDER}> SIZE=1", "250 2.1.0"),
            RCPT,
            DATA,
            say(HEADER + b"\r\n" + b"x\r\n" * (MAX_MESSAGE_SIZE // 3) + b".\r\n", "552 5.3.4"),
        ),
    ),
    Case(
        "a refused content, and then a good one",
        "RFC 5321 §4.1.1.4",
        (
            *OPEN,
            DATA,
            say(b"\0\r\n.\r\n", _FLAWED),
            say("DATA", "503 5.5.1"),
            MAIL,
            RCPT,
            DATA,
            say(HEADER + b"\r\n.\r\n", ACCEPTED),
        ),
        _QUEUED,
    ),
    Case(
        "8-bit where BODY=7BIT was said",
        "RFC 6152 §3",
        (
            *IN,
            say(f"MAIL FROM:<{SENDER}> BODY=7BIT", "250 2.1.0"),
            RCPT,
            DATA,
            say(HEADER + b"\r\n\xe9\r\n.\r\n", ACCEPTED),
        ),
        _QUEUED,
    ),
    Case(
        "nothing but the dot, octet for octet",
        "RFC 5321 §4.1.1.4",
        (*OPEN, DATA, say(b"."), say(b"\r"), say(b"\n", _FLAWED)),
    ),
)
