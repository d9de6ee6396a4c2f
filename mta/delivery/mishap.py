"""What goes wrong in a conversation with a host, said in our words; the host's own are kept where there are some."""

import os
import ssl
from datetime import timedelta
from functools import lru_cache

from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException

from mta.delivery.replies import told
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_report import PolicyType
from mta.delivery.verdict import Refused, Stage, Verdict
from mta.delivery.wire import Garbled, Injected
from mta.mail import failures
from mta.mail.reply import Reply

# numbers of OpenSSL's verification (x509_vfy.h)
_DATES = frozenset({9, 10})
_NAMES = frozenset({62, 64})
_REMEMBERED = 128
"""Characters of a reply up to which it is worth remembering what it is read as."""
_ACCIDENTS = frozenset({None, "TLSV1_ALERT_INTERNAL_ERROR", "UNEXPECTED_EOF_WHILE_READING"})
"""Reasons why a handshake fails that speak of a moment."""


def heard(said: SMTPResponse) -> Reply:
    """Return what a host said."""
    code, text = said.code, said.message
    # hosts say much the same all day
    return _heard(code, text) if len(text) < _REMEMBERED else _heard.__wrapped__(code, text)


@lru_cache(maxsize=1024)
def _heard(code: int, text: str) -> Reply:
    return Reply.parse(code, text.split("\n"))


def refusal(stage: Stage, reply: Reply) -> Verdict | None:
    """Return None for the reply that lets a transaction go on."""
    if reply.code // 100 == (3 if stage is Stage.DATA else 2):
        return None
    if reply.is_positive:
        return Verdict(stage, told(failures.PROTOCOL_ERROR, f"{stage.upper()} was answered {reply}"))
    return Verdict(stage, reply, remote=True)


def refused(stage: Stage, error: Exception, limit: timedelta) -> Refused:
    """Say what went wrong at a stage."""
    plaintext_may_work = stage is Stage.STARTTLS and not isinstance(error, Injected)
    remote = False
    failure = tls_failure(error) if stage is Stage.STARTTLS else None
    match error:
        case SMTPResponseException(code=code, message=message) if 400 <= code <= 599:
            reply, remote = Reply.parse(code, message.split("\n")), True
        case SMTPResponseException(code=code, message=message):
            reply = told(failures.PROTOCOL_ERROR, f"{stage.upper()} was answered {code} {message}")
        case TimeoutError():
            known = failures.NO_CONNECTION if stage is Stage.CONNECT else failures.HOST_TIMEOUT
            reply = told(known, f"waited {limit.total_seconds():g} s ({stage})")
        case Garbled():
            reply = told(failures.PROTOCOL_ERROR, str(error))
        case ssl.SSLCertVerificationError():
            reply, failure = told(failures.TLS_FAILED, error.verify_message), tls_failure(error)
        case ssl.SSLError():
            reply, failure = told(failures.TLS_FAILED, error.reason or str(error)), tls_failure(error)
        case _ if stage is Stage.CONNECT:
            reply = told(failures.NO_CONNECTION, _why(error))
        case _ if stage is Stage.STARTTLS:
            reply = told(failures.TLS_FAILED, _why(error) or "connection lost")
        case _:
            reply = told(failures.CONNECTION_LOST, _why(error))
    # nothing but MTA-STS has certificates judged by the handshake itself
    failed = PolicyType.STS if isinstance(error, ssl.SSLCertVerificationError) else None
    return Refused(Verdict(stage, reply, remote, False, plaintext_may_work, failure, failed, is_unfit(error)))


def is_unfit(error: Exception) -> bool:
    """Whether a handshake failed because the two sides have no TLS in common, rather than by an accident."""
    # of other libraries within OpenSSL are errors about files of ours
    if not isinstance(error, ssl.SSLError) or error.library != "SSL":
        return False
    return not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) and error.reason not in _ACCIDENTS


def tls_failure(error: Exception) -> TlsFailure:
    """Return the word of the reports for a handshake that failed (RFC 8460 §4.3)."""
    match error:
        case ssl.SSLCertVerificationError() if error.verify_code in _DATES:
            return TlsFailure.CERTIFICATE_EXPIRED
        case ssl.SSLCertVerificationError() if error.verify_code in _NAMES:
            return TlsFailure.CERTIFICATE_HOST_MISMATCH
        case ssl.SSLCertVerificationError():
            return TlsFailure.CERTIFICATE_NOT_TRUSTED
        case SMTPResponseException():
            return TlsFailure.STARTTLS_NOT_SUPPORTED
    return TlsFailure.VALIDATION_FAILURE


def _why(error: BaseException) -> str:
    """Return the system's words for what went wrong, such as "Connection refused"."""
    cause = error.__cause__ if isinstance(error, SMTPException) and error.__cause__ else error
    return os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
