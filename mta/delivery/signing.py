"""The sealer of the real world: DKIM signatures by the From domain's keys, made outside the event loop, once a message.

Keys, selection and signing itself are `mta.dkim`'s.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from mta.clock import Clock
from mta.delivery.single_flight import SingleFlight
from mta.delivery.threads import Threads
from mta.dkim.alignment import pick
from mta.dkim.keys import SigningKey
from mta.dkim.sign import Signer, SigningError
from mta.mail.reply import clean
from mta.queue.model import Message
from mta.queue.seams import Unsigned

_REMEMBERED = 500

_What = tuple[str, bytes]


class DkimSealer:
    """Signs what will leave."""

    def __init__(
        self, keys: Mapping[str, tuple[SigningKey, ...]], unsigned: Iterable[str], threads: Threads, clock: Clock
    ) -> None:
        """`keys` by domain; `unsigned` are the domains that want no signature. All names in lower-case A-labels.

        The threads sign; two are plenty, since signing gives way to Python only between signatures.
        """
        self._threads = threads
        self._clock = clock
        self._flights = SingleFlight[_What, bytes]()
        self._keys: dict[str, tuple[SigningKey, ...]] = {}
        self._unsigned: frozenset[str] = frozenset()
        self._known: OrderedDict[_What, bytes] = OrderedDict()
        self._signers: dict[int, Signer] = {}
        """By the identity of their keys, which `_keys` holds."""
        self.replace_keys(keys, unsigned)

    def replace_keys(self, keys: Mapping[str, tuple[SigningKey, ...]], unsigned: Iterable[str]) -> None:
        """Use other keys from now on; a signature being made is still made with the old ones."""
        self._unsigned = frozenset(unsigned)
        # `pick` takes a domain with no keys as the end of its search: nothing is signed for it by a parent's key
        self._keys = {**dict.fromkeys(self._unsigned, ()), **keys}
        self._signers = {id(some): Signer(some) for some in self._keys.values() if some}
        self._known = OrderedDict()

    async def seal(self, message: Message, header: bytes) -> bytes:
        """Return DKIM-Signature fields, each ending in CRLF; empty when the domain wants none.

        Raises:
            Unsigned: the message must be held; the text says why and what to do.
        """
        keys = pick(self._keys, message.from_domain)
        if not keys:
            if self._wants_none(message.from_domain):
                return b""
            domain = message.from_domain
            raise Unsigned(
                f"no DKIM key for {domain}: run mta dkim keygen {domain}, or set dkim = [] in its [[domain]] "
                f"to send its mail unsigned; then mta queue release"
            )
        what = (message.id, hashlib.sha256(header).digest())
        if (signature := self._known.get(what)) is not None:
            return signature
        known = self._known
        signer = self._signers[id(keys)]
        return await self._flights.do(what, lambda: self._sign(what, signer, message, header, known))

    async def _sign(
        self,
        what: _What,
        signer: Signer,
        message: Message,
        header: bytes,
        known: OrderedDict[_What, bytes],
    ) -> bytes:
        at = self._clock.now()
        try:
            signature = await self._threads.run(lambda: signer.sign(header, message.body_hash, at))
        except SigningError as error:
            raise Unsigned(f"cannot be signed: {clean(str(error))}") from error
        known[what] = signature
        if len(known) > _REMEMBERED:
            known.popitem(last=False)
        return signature

    def _wants_none(self, domain: str) -> bool:
        """Whether the domain, or the nearest parent that is configured, is one that is sent unsigned."""
        name = domain.lower().removesuffix(".")
        while name:
            if name in self._keys:
                return name in self._unsigned
            name = name.partition(".")[2]
        return False
