"""Mail for others through a server that is not theirs: without a login, and in every notation that ever re-routed."""

from tests.scenarios.hostile.case import (
    ACCEPTED,
    DATA,
    EHLO,
    IN,
    MAIL,
    MESSAGE,
    SECURED,
    STARTTLS,
    WRONG,
    Act,
    Case,
    Door,
    say,
)

_NO_MAIL = (say("RCPT TO:<victim@example.net>", "503 5.5.1"), say("DATA", "503 5.5.1"))
_REFUSED = (say("MAIL FROM:<app@example.com>", "530 5.7.0"), *_NO_MAIL)

WITHOUT_LOGIN = (
    Case("relay without a login", "RFC 6409 §4.3", (EHLO, *_REFUSED)),
    Case("relay after HELO", "RFC 6409 §4.3", (say("HELO x", "250 mail.example.com"), *_REFUSED)),
    Case("relay from the null reverse-path", "RFC 6409 §4.3", (EHLO, say("MAIL FROM:<>", "530 5.7.0"), *_NO_MAIL)),
    Case(
        "relay between two domains of ours",
        "RFC 6409 §4.3",
        (EHLO, say("MAIL FROM:<app@example.com>", "530 5.7.0"), say("RCPT TO:<postmaster@example.com>", "503 5.5.1")),
    ),
    Case("relay before TLS", "RFC 6409 §4.3", (EHLO, *_REFUSED), door=Door.STARTTLS),
    Case("relay after STARTTLS", "RFC 6409 §4.3", (EHLO, STARTTLS, Act.HANDSHAKE, EHLO, *_REFUSED), door=Door.STARTTLS),
    Case("relay under TLS", "RFC 6409 §4.3", (*SECURED, EHLO, *_REFUSED), door=Door.TLS),
    Case("relay after a wrong password", "RFC 4954 §6", (EHLO, say(f"AUTH PLAIN {WRONG}", "535 5.7.8"), *_REFUSED)),
    Case(
        "relay after a cancelled login",
        "RFC 4954 §4",
        (EHLO, say("AUTH PLAIN", "334 "), say("*", "501 5.7.0"), *_REFUSED),
    ),
    Case(
        "relay by AUTH= of the reverse-path",
        "RFC 4954 §5",
        (EHLO, say("MAIL FROM:<app@example.com> AUTH=app@example.com", "530 5.7.0"), *_NO_MAIL),
    ),
)

# what is taken is mail for the domain behind the last @, and its local part goes there as it is (RFC 5321 §2.3.11)
_OPAQUE = {
    "percent hack": "victim%example.org@example.net",
    "percent hack, twice": "victim%a.example%b.example@example.net",
    "bang path before an @": "example.org!victim@example.net",
    "quoted address as a local part": '"victim@example.org"@example.net',
    "quoted source route as a local part": '"@example.org:victim"@example.net',
    "quoted brackets": '"><victim@example.org>"@example.net',
    "pipe to a program": "|/bin/sh@example.net",
    "name of a file": "/etc/passwd@example.net",
    "option of a program": "-oQ/tmp@example.net",
    "shell substitution": "`reboot`${IFS}$x@example.net",
}

_MALFORMED = {
    "source route": "<@example.com:victim@example.org>",
    "source route over two hosts": "<@a.example,@b.example:victim@example.org>",
    "bang path": "<example.org!victim>",
    "percent hack without a domain": "<victim%example.org>",
    "pipe without a domain": "<|/bin/sh>",
    "two @": "<victim@example.org@example.net>",
    "@ beyond ASCII": "<victim@example.org＠example.net>",
    "domain in quotes": '<victim@"example.net">',
    "address literal": "<victim@[127.0.0.1]>",
    "IPv6 literal": "<victim@[IPv6:::1]>",
    "literal that is no address": "<victim@[300.1.1.1]>",
    "address without brackets": "<victim@127.0.0.1>",
    "address as one number": "<victim@2130706433>",
    "address in hexadecimal": "<victim@0x7f.1>",
    "domain with a port": "<victim@example.net:25>",
    "domain with a path": "<victim@example.net/x>",
    "single label": "<victim@localhost>",
    "final dot": "<victim@example.net.>",
    "empty label": "<victim@example..net>",
    "first dot": "<victim@.example.net>",
    "hyphen before a label": "<victim@-example.net>",
    "underscore in a domain": "<victim@ex_ample.net>",
    "no domain": "<victim@>",
    "no local part": "<@example.net>",
    "empty path": "<>",
    "postmaster without a domain": "<postmaster>",
    "blank in a local part": "<a victim@example.net>",
    "dot before the @": "<victim.@example.net>",
    "comment": "<victim(x)@example.net>",
    "several in one path": "<victim@example.net,other@example.net>",
    "local part of 65 octets": f"<{'v' * 65}@example.net>",
    "label of 64 octets": f"<victim@{'x' * 64}.net>",
    "domain of 256 octets": f"<v@{'.'.join(['x' * 61] * 4)}.example>",
}

_NO_PATH = {
    "no brackets": "victim@example.net",
    "a blank before the path": " <victim@example.net>",
    "two paths": "<victim@example.net>,<other@example.net>",
    "words behind the path": "<victim@example.net>other",
    "nothing": "",
}

NOTATIONS = (
    *(
        Case(
            f"to: {name}",
            "RFC 5321 §2.3.11",
            (*IN, MAIL, say(f"RCPT TO:<{path}>", "250 2.1.5"), DATA, say(MESSAGE + b".\r\n", ACCEPTED)),
            queued=(path,),
        )
        for name, path in _OPAQUE.items()
    ),
    *(
        Case(
            f"to: {name}",
            "RFC 5321 §4.1.2",
            (
                *IN,
                say("MAIL FROM:<app@example.com> SMTPUTF8", "250 2.1.0"),
                say(f"RCPT TO:{path}", "501 5.1.3"),
                say("DATA", "503 5.5.1"),
            ),
        )
        for name, path in _MALFORMED.items()
    ),
    *(
        Case(
            f"to: {name}",
            "RFC 5321 §4.1.1.3",
            (*IN, MAIL, say(f"RCPT TO:{path}", "501 5.5.4"), say("DATA", "503 5.5.1")),
        )
        for name, path in _NO_PATH.items()
    ),
    Case("to: brackets in brackets", "RFC 5321 §4.1.2", (*IN, MAIL, say("RCPT TO:<<victim@example.net>>", "501 5."))),
    Case(
        "to: a quote that does not end", "RFC 5321 §4.1.2", (*IN, MAIL, say('RCPT TO:<"victim@example.net>', "501 5."))
    ),
    Case(
        "to: a bracket that does not end", "RFC 5321 §4.1.2", (*IN, MAIL, say("RCPT TO:<victim@example.net", "501 5."))
    ),
    Case("from: source route", "RFC 5321 §4.1.2", (*IN, say("MAIL FROM:<@example.com:app@example.com>", "501 5.1.7"))),
    Case("from: percent hack", "RFC 6409 §6.1", (*IN, say("MAIL FROM:<app%example.com@example.org>", "550 5.7.1"))),
    Case("from: somebody else", "RFC 6409 §6.1", (*IN, say("MAIL FROM:<ceo@example.org>", "550 5.7.1"), *_NO_MAIL)),
    Case("from: a subdomain of ours", "RFC 6409 §6.1", (*IN, say("MAIL FROM:<app@sub.example.com>", "550 5.7.1"))),
    Case(
        "from: a domain that ends like ours", "RFC 6409 §6.1", (*IN, say("MAIL FROM:<a@evilexample.com>", "550 5.7.1"))
    ),
    Case(
        "from: ours before the @",
        "RFC 6409 §6.1",
        (*IN, say('MAIL FROM:<"app@example.com"@evil.example>', "550 5.7.1")),
    ),
    Case("from: address literal", "RFC 5321 §4.1.2", (*IN, say("MAIL FROM:<app@[127.0.0.1]>", "501 5.1.7"))),
    Case("from: no domain", "RFC 6409 §4.2", (*IN, say("MAIL FROM:<app>", "501 5.1.7"))),
)

CASES = (*WITHOUT_LOGIN, *NOTATIONS)
