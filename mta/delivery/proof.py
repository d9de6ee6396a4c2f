"""Does a host's certificate meet a demand, once the handshake is done?

What OpenSSL checks during the handshake is not repeated; what it cannot check (TLSA records, a second name) is judged
here, before anything else is said to the host.
"""

import ssl
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from mta.delivery.dane_chain import is_named, presented_chain, prove
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_policy import Demand, Level
from mta.delivery.tls_report import PolicyType


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a host's certificate is worth."""

    verified: bool = False
    """The demand wanted a proof and has it."""
    why: str = ""
    """For people: what proved it, or what is wrong."""
    name: str = ""
    """The name that DANE's proof rests on, if any."""
    failure: TlsFailure | None = None
    failed: PolicyType | None = None


def judge(tls: ssl.SSLObject, demand: Demand, now: datetime, *, testing: bool) -> Judgement:
    """Judge a connection whose handshake was made with the context for this demand."""
    wanted = demand.pkix_names or (demand.testing_names if testing else ())
    if demand.level is not Level.DANE and not wanted:
        return Judgement()
    why, name = "", ""
    if demand.level is Level.DANE:
        proof = prove(presented_chain(tls), demand.dane_records, demand.dane_names, now)
        if not proof.holds:
            return Judgement(why=proof.why, failure=proof.failure, failed=PolicyType.TLSA)
        why, name = proof.why, proof.name
    if wanted:
        if wanted != (demand.server_name,) and not _has_name(tls, wanted):
            text = f"the certificate is not for {' or '.join(wanted)}"
            return Judgement(why=text, failure=TlsFailure.CERTIFICATE_HOST_MISMATCH, failed=PolicyType.STS)
        why = "; ".join(filter(None, (why, f"certificate for {wanted[0]}")))
    # what only a policy in testing mode asked for is no demand
    return Judgement(demand.level >= Level.VERIFY_PKIX, why, name)


def _has_name(tls: ssl.SSLObject, names: tuple[str, ...]) -> bool:
    octets = tls.getpeercert(binary_form=True)
    try:
        certificate = x509.load_der_x509_certificate(octets or b"")
    except ValueError:
        return False
    return any(is_named(certificate, name) for name in names)
