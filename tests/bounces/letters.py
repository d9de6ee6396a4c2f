"""Letters that the tests of reading put together."""


def report(status: str, prose: str = "", *, kind: str = "message/delivery-status", head: str = "") -> bytes:
    """Return a multipart/report with a status part, and the message that it is about."""
    return (
        f"Return-Path: <>\nFrom: MAILER-DAEMON@dest.example\nTo: shop@send.example.org\n"
        f"Subject: Undelivered Mail Returned to Sender\n{head}MIME-Version: 1.0\n"
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="=b"\n\n'
        f"--=b\nContent-Type: text/plain; charset=utf-8\n\n{prose}\n"
        f"--=b\nContent-Type: {kind}\n\n{status}\n"
        "--=b\nContent-Type: text/rfc822-headers\n\n"
        "From: shop@send.example.org\nMessage-ID: <original@send.example.org>\nX-Token: abc\n\n--=b--\n"
    ).encode()


def plain(text: str, **fields: str) -> bytes:
    """Return a letter of one text; a field's name is written with underscores."""
    given = {"From": "Kay <kay@dest.example>", "To": "shop@send.example.org"}
    given |= {name.replace("_", "-"): value for name, value in fields.items()}
    header = "".join(f"{name}: {value}\n" for name, value in given.items())
    return f"{header}Content-Type: text/plain; charset=utf-8\n\n{text}".encode()
