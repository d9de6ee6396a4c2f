"""Parameters of MAIL and RCPT: unknown, repeated, malformed, and with what would break into a DSN or a log."""

from tests.scenarios.hostile.case import IN, MAIL, MESSAGE, RCPT, SENDER, Case, say

_LONG = "x" * 101

# by the whole of what follows the reverse-path: the RFC that rules it, and the reply
_MAIL = {
    "SIZE twice": (" SIZE=1 SIZE=1", "RFC 5321 §4.1.1.11", "501 5.5.4"),
    "SIZE without a value": (" SIZE", "RFC 1870 §3", "501 5.5.4"),
    "SIZE with an empty value": (" SIZE=", "RFC 1870 §3", "501 5.5.4"),
    "SIZE below zero": (" SIZE=-1", "RFC 1870 §3", "501 5.5.4"),
    "SIZE with a sign": (" SIZE=+1", "RFC 1870 §3", "501 5.5.4"),
    "SIZE in hexadecimal": (" SIZE=0x10", "RFC 1870 §3", "501 5.5.4"),
    "SIZE in digits of another script": (" SIZE=١٢٣", "RFC 1870 §3", "501 5.5.4"),
    "SIZE with superscripts": (" SIZE=1²", "RFC 1870 §3", "501 5.5.4"),
    "SIZE over the limit": (" SIZE=400001", "RFC 1870 §6.1", "552 5.3.4"),
    "SIZE of twenty digits": (f" SIZE={'9' * 20}", "RFC 1870 §6.1", "552 5.3.4"),
    "SIZE of twenty-one digits": (f" SIZE={'9' * 21}", "RFC 1870 §3", "501 5.5.4"),
    "BODY=BINARYMIME, which is not offered": (" BODY=BINARYMIME", "RFC 3030 §3", "501 5.5.4"),
    "BODY of an unknown kind": (" BODY=9BIT", "RFC 6152 §2", "501 5.5.4"),
    "BODY twice": (" BODY=7BIT BODY=8BITMIME", "RFC 5321 §4.1.1.11", "501 5.5.4"),
    "BODY without a value": (" BODY", "RFC 6152 §2", "501 5.5.4"),
    "SMTPUTF8 with a value": (" SMTPUTF8=1", "RFC 6531 §3.4", "501 5.5.4"),
    "SMTPUTF8 twice": (" SMTPUTF8 SMTPUTF8", "RFC 5321 §4.1.1.11", "501 5.5.4"),
    "RET of an unknown kind": (" RET=ALL", "RFC 3461 §4.3", "501 5.5.4"),
    "RET twice": (" RET=FULL RET=HDRS", "RFC 3461 §4.3", "501 5.5.4"),
    "ENVID without a value": (" ENVID", "RFC 3461 §4.4", "501 5.5.4"),
    "ENVID with a line end": (" ENVID=x+0D+0ABcc:+20victim@example.org", "RFC 3461 §4.4", "501 5.5.4"),
    "ENVID with a line feed": (" ENVID=x+0Ay", "RFC 3461 §4.4", "501 5.5.4"),
    "ENVID with a NUL": (" ENVID=x+00", "RFC 3461 §4.4", "501 5.5.4"),
    "ENVID that is no xtext": (" ENVID=x+G0", "RFC 3461 §4", "501 5.5.4"),
    "ENVID with hexadecimal in lower case": (" ENVID=x+2b", "RFC 3461 §4", "501 5.5.4"),
    "ENVID that ends in the middle": (" ENVID=x+2", "RFC 3461 §4", "501 5.5.4"),
    "ENVID with 8-bit letters": (" ENVID=é", "RFC 3461 §4", "501 5.5.4"),
    "ENVID over 100 octets": (f" ENVID={_LONG}", "RFC 3461 §4.4", "501 5.5.4"),
    "ENVID twice": (" ENVID=1 ENVID=2", "RFC 3461 §4.4", "501 5.5.4"),
    "AUTH= with a line end": (" AUTH=x+0D+0Ay", "RFC 4954 §5", "501 5.5.4"),
    "AUTH= without a value": (" AUTH", "RFC 4954 §5", "501 5.5.4"),
    "AUTH= that is no xtext": (" AUTH=x+zz", "RFC 4954 §5", "501 5.5.4"),
    "REQUIRETLS, which is not offered in clear": (" REQUIRETLS", "RFC 8689 §2", "555 5.5.4"),
    "HOLDFOR of nothing": (" HOLDFOR=0", "RFC 4865 §4", "501 5.5.4"),
    "HOLDFOR below zero": (" HOLDFOR=-1", "RFC 4865 §4", "501 5.5.4"),
    "HOLDFOR of a word": (" HOLDFOR=soon", "RFC 4865 §4", "501 5.5.4"),
    "HOLDFOR of ten digits": (" HOLDFOR=9999999999", "RFC 4865 §4", "501 5.5.4"),
    "HOLDFOR over the limit": (" HOLDFOR=999999999", "RFC 4865 §4", "501 5.5.4"),
    "HOLDFOR without a value": (" HOLDFOR", "RFC 4865 §4", "501 5.5.4"),
    "HOLDFOR twice": (" HOLDFOR=60 HOLDFOR=60", "RFC 4865 §4", "501 5.5.4"),
    "HOLDFOR and HOLDUNTIL": (" HOLDFOR=60 HOLDUNTIL=2999-01-01T00:00:00Z", "RFC 4865 §4", "501 5.5.4"),
    "HOLDUNTIL beyond the limit": (" HOLDUNTIL=2999-01-01T00:00:00Z", "RFC 4865 §4", "501 5.5.4"),
    "HOLDUNTIL that is no time": (" HOLDUNTIL=tomorrow", "RFC 4865 §4", "501 5.5.4"),
    "HOLDUNTIL without a zone": (" HOLDUNTIL=2999-01-01T00:00:00", "RFC 4865 §4", "501 5.5.4"),
    "HOLDUNTIL on a day that there is not": (" HOLDUNTIL=2999-02-30T00:00:00Z", "RFC 4865 §4", "501 5.5.4"),
    "an unknown parameter of MAIL": (" X-EVIL=1", "RFC 5321 §4.1.1.11", "555 5.5.4"),
    "an unknown parameter beyond ASCII": (" ſize=1", "RFC 5321 §4.1.1.11", "501 5.5.4"),
    "a parameter of RCPT with MAIL": (" NOTIFY=NEVER", "RFC 3461 §4", "555 5.5.4"),
    "a parameter without a name": (" =1", "RFC 5321 §4.1.2", "501 5.5.4"),
    "a parameter with two values": (" SIZE=1=1", "RFC 5321 §4.1.2", "501 5.5.4"),
    "a parameter that touches the path": ("SIZE=1", "RFC 5321 §4.1.2", "501 5.5.4"),
    "more parameters than there are": ("".join(f" X{n}" for n in range(21)), "RFC 5321 §4.1.2", "501 5.5.4"),
}

_RCPT = {
    "NOTIFY=NEVER with others": (" NOTIFY=NEVER,SUCCESS", "RFC 3461 §4.1", "501 5.5.4"),
    "NOTIFY of an unknown kind": (" NOTIFY=ALWAYS", "RFC 3461 §4.1", "501 5.5.4"),
    "NOTIFY with an empty word": (" NOTIFY=SUCCESS,,FAILURE", "RFC 3461 §4.1", "501 5.5.4"),
    "NOTIFY without a value": (" NOTIFY", "RFC 3461 §4.1", "501 5.5.4"),
    "NOTIFY twice": (" NOTIFY=NEVER NOTIFY=NEVER", "RFC 3461 §4.1", "501 5.5.4"),
    "ORCPT without a type": (" ORCPT=victim@example.org", "RFC 3461 §4.2", "501 5.5.4"),
    "ORCPT without an address": (" ORCPT=rfc822;", "RFC 3461 §4.2", "501 5.5.4"),
    "ORCPT with a line end": (" ORCPT=rfc822;a+0D+0AAction:+20delivered", "RFC 3461 §4.2", "501 5.5.4"),
    "ORCPT with a line end in its type": (" ORCPT=rfc822+0D+0A;a@example.net", "RFC 3461 §4.2", "501 5.5.4"),
    "ORCPT over 500 octets": (f" ORCPT=rfc822;{'x' * 494}", "RFC 3461 §4.2", "501 5.5.4"),
    "ORCPT in UTF-8 without SMTPUTF8": (" ORCPT=utf-8;é@example.net", "RFC 6533 §3", "501 5.5.4"),
    "ORCPT twice": (" ORCPT=rfc822;a ORCPT=rfc822;b", "RFC 3461 §4.2", "501 5.5.4"),
    "an unknown parameter of RCPT": (" X-EVIL=1", "RFC 5321 §4.1.1.11", "555 5.5.4"),
    "a parameter of MAIL with RCPT": (" SIZE=1", "RFC 5321 §4.1.1.11", "555 5.5.4"),
    "an unknown parameter with a hostile value": (" X=\"'><script>", "RFC 5321 §4.1.1.11", "555 5.5.4"),
}

CASES = (
    *(
        # a refused MAIL opens nothing
        Case(name, rfc, (*IN, say(f"MAIL FROM:<{SENDER}>{tail}", reply), say("RCPT TO:<b@example.net>", "503 5.5.1")))
        for name, (tail, rfc, reply) in _MAIL.items()
    ),
    *(
        Case(name, rfc, (*IN, MAIL, say(f"RCPT TO:<b@example.net>{tail}", reply), say("DATA", "503 5.5.1")))
        for name, (tail, rfc, reply) in _RCPT.items()
    ),
    Case(
        "AUTH= of somebody else is taken and not believed",
        "RFC 4954 §5",
        (*IN, say(f"MAIL FROM:<{SENDER}> AUTH=root@example.org", "250 2.1.0")),
    ),
    Case(
        "the same recipient with another ORCPT",
        "RFC 3461 §4.2",
        (
            *IN,
            MAIL,
            RCPT,
            say("RCPT TO:<b@EXAMPLE.net> ORCPT=rfc822;x@example.org", "250 2.1.5"),
            say("DATA", "354 "),
            say(MESSAGE + b".\r\n", "250 2.0.0"),
        ),
        queued=("b@example.net",),
    ),
    Case(
        "one recipient more than the limit",
        "RFC 5321 §4.5.3.1.10",
        (
            *IN,
            MAIL,
            say(
                b"".join(b"RCPT TO:<r%d@example.net>\r\n" % number for number in range(101)),
                *["250 2.1.5"] * 100,
                "452 4.5.3",
            ),
        ),
    ),
)
