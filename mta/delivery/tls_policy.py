"""What a connection to a host must prove before mail for one recipient's domain goes over it: all policies combined.

Pure. DANE and MTA-STS are judged apart, each by its own rules, and what either demands is demanded: neither replaces
the other, none falls back to something weaker (RFC 8461 §2, RFC 7672 §2.2). Only the message itself may say that
delivery matters more than the recipient's policies (RFC 8689 §4.2.2).
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from mta.delivery.dane import Dane, DaneState
from mta.delivery.limits import TlsPolicy
from mta.delivery.mta_sts import Mode, Policy
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tlsa import TlsaRecord


class Level(IntEnum):
    """How much is demanded, in order."""

    NONE = 0
    """No TLS is tried: the second connection to a host where it failed a moment ago."""
    OPPORTUNISTIC = 1
    """TLS where it works; nothing is verified (RFC 7435)."""
    ENCRYPT = 2
    """TLS; nothing is verified."""
    VERIFY_PKIX = 3
    """TLS, with a certificate for the host's name from an authority that the system knows."""
    DANE = 4
    """TLS, with a certificate that matches a TLSA record; and one as above if `pkix_names` are given."""


class PolicyWord(StrEnum):
    """Which policy decided, for events, metrics and people."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    TLS_OPTIONAL = "tls-required-no"
    """The message said `TLS-Required: No`, and that made a difference."""
    REQUIRE = "require"
    VERIFY = "verify"
    MTA_STS_TESTING = "mta-sts-testing"
    MTA_STS = "mta-sts"
    DANE = "dane"
    """With records that cannot be used, too."""
    DANE_MTA_STS = "dane+mta-sts"
    REQUIRETLS = "requiretls"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the message itself asks for (RFC 8689). `require` outweighs `optional` (RFC 8689 §4.1)."""

    require: bool = False
    """REQUIRETLS."""
    optional: bool = False
    """`TLS-Required: No`, from an account that may say so; also each report about TLS."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is known before a host is connected to."""

    host: str
    """Lower-case A-labels, without the final dot."""
    configured: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    route: Level = Level.OPPORTUNISTIC
    """What the operator demands of this relay."""
    dane: Dane = field(default_factory=Dane)
    sts: Policy | None = None
    """Of the recipient's domain; None for a relay that the operator named."""
    named_surely: bool = False
    """The host's name was learnt through validated MX records, or from the operator."""
    wish: Wish = field(default_factory=Wish)
    unsure: str = ""
    """Why what would prove the host's name cannot be had now, and may be had later."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one connection must prove. Equal demands are exchangeable; see `covers` for unequal ones."""

    level: Level
    word: PolicyWord
    server_name: str
    """For SNI."""
    pkix_names: tuple[str, ...] = ()
    """The certificate must be good by the system's anchors and have one of these names; empty: not looked at."""
    dane_names: tuple[str, ...] = ()
    dane_records: tuple[TlsaRecord, ...] = ()
    """Usable ones; `dane_chain.prove` judges by these and `dane_names`."""
    requiretls: bool = False
    """The host must offer REQUIRETLS after the handshake, and MAIL carries it (RFC 8689 §4.2.1)."""
    testing_names: tuple[str, ...] = ()
    """As `pkix_names`, but what fails is reported and mail goes on as if there were no policy (RFC 8461 §5)."""
    testing_failure: TlsFailure | None = None
    """What a policy in testing mode would refuse already, before connecting."""

    @property
    def encrypted(self) -> bool:
        """Whether there is no mail without TLS."""
        return self.level >= Level.ENCRYPT

    @property
    def plaintext_fallback(self) -> bool:
        """Whether a failed handshake may lead to a new connection in plaintext."""
        return self.level is Level.OPPORTUNISTIC

    def in_plaintext(self) -> "Demand":
        """Return the demand of that new connection. Raises ValueError where there must be none."""
        if not self.plaintext_fallback:
            raise ValueError(f"{self.word} allows no plaintext")
        return replace(self, level=Level.NONE, word=PolicyWord.NONE, testing_names=(), testing_failure=None)

    def proven(self, name: str) -> "Demand":
        """Return the demand as it was met: under the one name that `dane_chain.Proof` tells, so that the connection
        serves other domains of the host, too. Without a name, itself."""
        return replace(self, dane_names=(name,)) if name else self

    def covers(self, other: "Demand") -> bool:
        """Whether a connection to the host that was opened, and proved itself, under this demand meets another one.

        A policy in testing mode demands nothing. A connection whose host lacks REQUIRETLS was not opened under it.
        """
        if self == other:
            return True
        if other.level <= Level.OPPORTUNISTIC:
            # any will do, also one in plaintext: it stands because TLS failed there a moment ago
            return True
        if not self.encrypted or (other.requiretls and not self.requiretls):
            return False
        if other.pkix_names and not (self.pkix_names and set(self.pkix_names) <= set(other.pkix_names)):
            return False
        if not other.dane_records:
            return True
        # the records of two zones for one host are never the same by chance
        return self.dane_records == other.dane_records and set(self.dane_names) <= set(other.dane_names)


@dataclass(frozen=True, slots=True)
class Skipped:
    """The host must not be connected to for this delivery; the next one may do, else the delivery is deferred."""

    word: PolicyWord
    failure: TlsFailure
    why: str
    for_good: bool = False
    """Waiting helps nobody: the message requires TLS, and it is certain that this host is out (RFC 8689 §4.2.1)."""


def combine(situation: Situation) -> Demand | Skipped:
    """Return what a connection to a host must prove."""
    own = _own(situation)
    wish = situation.wish
    if wish.optional and not wish.require:
        # the operator's own demands stay: the field speaks of the recipient's policies (RFC 8689 §4.2.2)
        plain = own.word is PolicyWord.OPPORTUNISTIC and _recipient_demands(situation)
        return replace(own, word=PolicyWord.TLS_OPTIONAL) if plain else own
    parts = (_by_dane(situation), _by_sts(situation), _by_requiretls(situation))
    demand = own
    for part in parts:
        if isinstance(part, Skipped):
            unsure = part.failure is TlsFailure.DNSSEC_INVALID or situation.unsure
            return replace(part, for_good=wish.require and not unsure)
        if part is not None:
            demand = _both(demand, part)
    return demand


def _own(situation: Situation) -> Demand:
    """What the operator demands."""
    level = max(situation.route, Level.ENCRYPT if situation.configured is TlsPolicy.REQUIRE else Level.OPPORTUNISTIC)
    host = situation.host
    if level >= Level.VERIFY_PKIX:
        return Demand(Level.VERIFY_PKIX, PolicyWord.VERIFY, host, pkix_names=(host,))
    word = PolicyWord.REQUIRE if level is Level.ENCRYPT else PolicyWord.OPPORTUNISTIC
    return Demand(level, word, host)


def _by_dane(situation: Situation) -> Demand | Skipped | None:
    dane = situation.dane
    match dane.state:
        case DaneState.ABSENT:
            return None
        case DaneState.TROUBLE:
            return Skipped(PolicyWord.DANE, TlsFailure.DNSSEC_INVALID, f"TLSA records cannot be looked up: {dane.why}")
        case DaneState.UNUSABLE:
            return Demand(Level.ENCRYPT, PolicyWord.DANE, dane.base)
        case DaneState.USABLE:
            return Demand(Level.DANE, PolicyWord.DANE, dane.base, dane_names=dane.names, dane_records=dane.records)


def _by_sts(situation: Situation) -> Demand | Skipped | None:
    policy, host = situation.sts, situation.host
    if policy is None or policy.mode is Mode.NONE:
        return None
    if policy.mode is Mode.TESTING:
        failure = None if policy.allows(host) else TlsFailure.VALIDATION_FAILURE
        names = (host,) if failure is None else ()
        return Demand(
            Level.OPPORTUNISTIC,
            PolicyWord.MTA_STS_TESTING,
            host,
            testing_names=names,
            testing_failure=failure,
        )
    if not policy.allows(host):
        why = f"the domain's MTA-STS policy does not name {host}"
        return Skipped(PolicyWord.MTA_STS, TlsFailure.VALIDATION_FAILURE, why)
    return Demand(Level.VERIFY_PKIX, PolicyWord.MTA_STS, host, pkix_names=(host,))


def _by_requiretls(situation: Situation) -> Demand | Skipped | None:
    """RFC 8689 §4.2.1: a host whose name is certain, a certificate that proves it, and its promise to do the same."""
    if not situation.wish.require:
        return None
    host = situation.host
    by_sts = situation.sts is not None and situation.sts.mode is not Mode.NONE and situation.sts.allows(host)
    if not (situation.named_surely or by_sts):
        why = f"neither DNSSEC nor MTA-STS proves that {host} is the domain's host"
        if situation.unsure:
            why = f"{why}, and it may yet: {situation.unsure}"
        return Skipped(PolicyWord.REQUIRETLS, TlsFailure.VALIDATION_FAILURE, why)
    if situation.dane.state is DaneState.USABLE:
        return Demand(Level.ENCRYPT, PolicyWord.REQUIRETLS, host, requiretls=True)  # DANE proves the certificate
    return Demand(Level.VERIFY_PKIX, PolicyWord.REQUIRETLS, host, pkix_names=(host,), requiretls=True)


_RANK = tuple(PolicyWord)  # the later, the more it says


def _both(one: Demand, other: Demand) -> Demand:
    """Return a demand that is met only by what meets both."""
    words = {one.word, other.word}
    both = words == {PolicyWord.DANE, PolicyWord.MTA_STS}
    word = PolicyWord.DANE_MTA_STS if both else max(words, key=_RANK.index)
    return Demand(
        max(one.level, other.level),
        word,
        # DANE's name wins (RFC 7672 §8.1); every other demand has the host's own
        other.server_name if other.word is PolicyWord.DANE else one.server_name,
        pkix_names=one.pkix_names or other.pkix_names,
        dane_names=one.dane_names or other.dane_names,
        dane_records=one.dane_records or other.dane_records,
        requiretls=one.requiretls or other.requiretls,
        testing_names=one.testing_names or other.testing_names,
        testing_failure=one.testing_failure or other.testing_failure,
    )


def _recipient_demands(situation: Situation) -> bool:
    sts = situation.sts is not None and situation.sts.mode is Mode.ENFORCE
    return sts or situation.dane.state is not DaneState.ABSENT
