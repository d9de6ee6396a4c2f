"""What can be wrong with a host's TLS or with a domain's policy about it, in the words of the reports that domains get.

The same words stand in events and metrics: a closed set.
"""

from enum import StrEnum


class TlsFailure(StrEnum):
    """The result types of RFC 8460 §4.3."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    """Or not valid yet."""
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"
    """A handshake that failed, an MX host that the policy does not name, and whatever has no word of its own."""
    TLSA_INVALID = "tlsa-invalid"
    """Signed TLSA records, none of them usable."""
    DNSSEC_INVALID = "dnssec-invalid"
    """No answer that validates."""
    DANE_REQUIRED = "dane-required"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"
    """The policy host's certificate does not verify."""
