"""Which of our keys sign for a From domain, so that DMARC finds the signature aligned (RFC 7489 §3.1.1).

Whether mail without a key is sent, or held, is left to the caller.
"""

from collections.abc import Mapping

from mta.dkim.keys import SigningKey


def pick(keys_by_domain: Mapping[str, tuple[SigningKey, ...]], from_domain: str) -> tuple[SigningKey, ...]:
    """The keys of the From domain, or of the nearest parent domain that is configured; () if none is.

    The mapping's names are in lower case and, like `from_domain`, in ASCII form. The walk knows no public suffix
    list: what is configured is the operator's own. A domain configured with no keys ends it, for there `dkim = []`
    was meant.
    """
    name = from_domain.lower().removesuffix(".")
    while name:
        if (keys := keys_by_domain.get(name)) is not None:
            return keys
        name = name.partition(".")[2]
    return ()
