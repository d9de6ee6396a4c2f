"""Codes, addresses and words as reports quote them in free text."""

import re
from dataclasses import dataclass

from mta.mail.reply import EnhancedStatus, clean

MAX_DIAGNOSTIC = 1000

_LEAD = 240
"""Letters before a code that are its context."""

# what follows or precedes decides: 550 is a reply, "550 bytes" and "192.0.2.550" are not
_CODE = re.compile(
    r"(?:^\s{0,12}|[:;<>#\"'(\[\]=,|*]\s{0,3}|\b(?:said|error|code|reply|response|smtp|status|returned|with|message)\s{1,3})"
    r"([45][0-9]{2})(?=[ \-]{1,2}(?:[^\s0-9]|[245][0-9]{2}[ \-]|[245]\.[0-9])|[:,;>\])]|\s{0,3}$)",
    re.IGNORECASE | re.MULTILINE,
)
_STATUS = re.compile(r"(?<![\w.])(?:\(?#)?([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![\w]|\.[0-9])")
_NEXT = re.compile(r"\n(?=\s*\n|\s*(?:>>>|<<<|[245][0-9]{2} ))")
_ADDRESS = re.compile(r"[^\s<>@,;:\"'()\[\]|*=]{1,64}@[^\s<>@,;:\"'()\[\]|*=/\\]{1,255}")
_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")


@dataclass(frozen=True, slots=True)
class Quote:
    """A reply quoted in a text, as far as there is one."""

    code: int | None
    status: EnhancedStatus | None
    text: str
    """From the code to the end of the reply, or all; on one line, without control characters, cut."""
    context: str
    """The same with what leads to it: at which command it was given, by whom."""


def quote(text: str) -> Quote:
    """Return the first reply that a text quotes."""
    code = _CODE.search(text)
    status = _status(text, code.start(1) if code else 0)
    starts = [match.start(1) for match in (code, status) if match][:1]
    start = starts[0] if starts else 0
    # the next reply of a transcript, or an empty line, ends it
    end = _NEXT.search(text, text.find("\n", start)) if starts and "\n" in text[start:] else None
    stop = end.start() if end else len(text)
    lead = text.rfind("\n\n", max(0, start - _LEAD), start)
    return Quote(
        int(code[1]) if code else None,
        EnhancedStatus(int(status[1]), int(status[2]), int(status[3])) if status else None,
        one_line(text[start:stop]),
        text[max(0, start - _LEAD) if lead < 0 else lead : stop],
    )


def _status(text: str, start: int) -> re.Match[str] | None:
    """Find the enhanced code that goes with a reply: behind its code, before it, or that of some success."""
    found = [match for match in _STATUS.finditer(text) if match[1] != "2"]
    return next((match for match in found if match.start() >= start), next(iter(found), _STATUS.search(text)))


def one_line(text: str) -> str:
    """Return text on one line, without control characters, cut."""
    return clean(" ".join(text[: MAX_DIAGNOSTIC * 2].split()))[:MAX_DIAGNOSTIC]


def addresses(text: str) -> list[str]:
    """Return what looks like mail addresses, in order, each once."""
    found = (clean(match[0].strip(".&`!?")) for match in _ADDRESS.finditer(text))
    return list(dict.fromkeys(address for address in found if is_address(address)))


def is_address(text: str) -> bool:
    """Whether a text could be a mail address."""
    local_part, at, domain = text.rpartition("@")
    return bool(at and local_part and domain) and " " not in domain and len(text) <= 320


def typed_address(value: str) -> str:
    """Return the address of `rfc822; kay@example.net` (RFC 3464 §2.3.1) or `utf-8; …` (RFC 6533 §3); empty for none."""
    kind, semicolon, address = value.partition(";")
    if not semicolon:
        kind, address = "rfc822", value
    address = address.strip()
    if kind.strip().lower() == "utf-8":
        address = _ESCAPE.sub(_letter, address)
    inside = address[address.rfind("<") + 1 : -1] if address.endswith(">") else address
    # quoted local parts may hold anything; everything else ends at a blank
    plain = inside.strip() if inside.startswith('"') else inside.partition(" ")[0].strip("<>,;")
    return clean(plain.strip()) if is_address(plain.strip()) else ""


def _letter(match: re.Match[str]) -> str:
    point = int(match[1], 16)
    return chr(point) if point <= 0x10FFFF and not 0xD800 <= point <= 0xDFFF else "?"
