"""Our own replies about hosts, with what happened behind the text that operators search for."""

from msgspec.structs import replace

from mta.mail.reply import MAX_TEXT, Reply, clean


def told(reply: Reply, detail: str) -> Reply:
    """Return a reply with a detail behind its text; the detail may hold foreign text."""
    if not detail:
        return reply
    return replace(reply, text=clean(f"{reply.text}: {detail}")[:MAX_TEXT])
