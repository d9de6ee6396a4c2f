"""Who handed a message in, as far as its connection tells."""

from msgspec import Struct


class Client(Struct, frozen=True):
    """The other end of a connection."""

    name: str
    """As it called itself: hostile text."""
    address: str
    tls_version: str | None = None
    """`TLSv1.3` and the like; None: in clear."""
    tls_cipher: str | None = None
