"""A listener's TLS context that knows what its certificate is worth as a channel binding (RFC 5929 §4).

A connection keeps the context it was begun with, so that a certificate which is replaced meanwhile confuses nobody.
"""

import ssl

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

_TOO_WEAK = (hashes.MD5, hashes.SHA1)


class BoundContext(ssl.SSLContext):
    """A context with the `tls-server-end-point` of the certificate it shows; None: there is none."""

    end_point: bytes | None = None


def end_point_of(certificate: bytes) -> bytes | None:
    """Return `tls-server-end-point`: the hash of a certificate (DER) by the algorithm of its signature.

    None where the signature names no hash, or not one alone, as with Ed25519: the RFC leaves that undefined.

    Raises:
        ValueError: it is no certificate.
    """
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    digest = hashes.Hash(hashes.SHA256() if isinstance(algorithm, _TOO_WEAK) else algorithm)
    digest.update(certificate)
    return digest.finalize()


def end_point_at(tls: ssl.SSLObject | None) -> bytes | None:
    """Return the channel binding of a connection; None where it has none."""
    context = tls.context if tls is not None else None
    return context.end_point if isinstance(context, BoundContext) else None
