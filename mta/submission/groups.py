"""Which recipients of a message get one return path together, so that they may share transactions. Pure.

It is decided once, when the message is accepted: every later attempt has to show the same return path, since
greylisting looks at it, and where a domain's mail goes may change until then. That is why recipients are put together
by what does not depend on DNS: their domain, or the relay that the operator routes them to.
"""

from collections.abc import Callable, Mapping, Sequence

from mta.mail.envelope import Recipient
from mta.mail.token import MAX_GROUPS


def groups(
    recipients: Sequence[Recipient], size: int, above: int, relay: Callable[[str], str | None]
) -> Mapping[int, int]:
    """Return the number of the group of each recipient that is in one, both by their place.

    Args:
        recipients: All of a message.
        size: The message's octets.
        above: Octets times recipients above which those of one domain are put together.
        relay: Returns the name of the relay to which the operator wants a domain's mail to go in batches.
    """
    relays: dict[str, str | None] = {}
    together: dict[tuple[bool, str], list[int]] = {}
    for place, recipient in enumerate(recipients):
        if not _may_share(recipient):
            continue
        domain = recipient.mailbox.domain
        if domain not in relays:
            relays[domain] = relay(domain)
        name = relays[domain]
        together.setdefault((False, domain) if name is None else (True, name), []).append(place)
    large = [
        places
        for (is_relay, _), places in together.items()
        if len(places) > 1 and (is_relay or size * len(places) > above)
    ]
    return {place: number for number, places in enumerate(large[:MAX_GROUPS]) for place in places}


def _may_share(recipient: Recipient) -> bool:
    """Whether a recipient needs no more of a host than others do, and a report would name it as we know it."""
    mailbox, original = recipient.mailbox, recipient.orcpt
    if not mailbox.is_ascii:
        return False
    return original is None or original.lower() == f"rfc822;{mailbox}".lower()
