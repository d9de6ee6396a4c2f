"""The mailboxes of a From or Sender field (RFC 5322 §3.6.2), read strictly enough to decide who may send what.

What this parser takes for the author must be what every receiver takes for the author. So whatever could be read in two
ways is refused: source routes, groups, comments or blanks inside an address, phrases with an unquoted `@`, names that a
reader who knows no quotes or decodes too early would take for an address. A name may say anything else, encoded words
included, an address in quotes too: it never becomes an author here. Runs in linear time.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import idna

from mta.mail.address import Mailbox, parse_domain
from mta.mail.encoded_words import decoded

MAX_FIELD = 16 * 1024
"""Octets of a From or Sender field; room for some hundred authors."""
_REMEMBERED = 256
"""Octets of a field up to which it is worth remembering what it is read as."""

# controls, line separators and what turns the direction of writing: some readers end a line at the first two (RFC 5322
# knows only CR and LF; `str.splitlines` knows ten others), and the last make an address read backwards
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# in some old charsets (Shift_JIS, Big5, GBK) the octet of a backslash may be the second half of a letter
_NOT_UTF8 = re.compile(r"[\udc80-\udcff]")

# one step each, none of which can be entered in two ways: no backtracking
_WORD = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\\\].]+")
_QUOTED = re.compile(r'"(?:[^"\\\r\n\x00]|\\[^\r\n\x00])*"')
_BLANKS = re.compile(r"[ \t]+")
_COMMENT_STEP = re.compile(r"[^()\\\r\n\x00]+|\\[^\r\n\x00]|[()]")

_SPECIAL = frozenset('@<>(),;:"\\[] \t')
_TAME_QUOTED = re.compile(r'"[^"@<>(),;:\\\[\]]*"')
# C1 controls are not among these: too many programs call windows-1252 iso-8859-1
_HIDDEN_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\u2028\u2029]")
# "Joe @ Bar" and "Joe (@joe)" are names
_SHOWN_DOMAIN = re.compile(r"[^\s@<>(),;:\"\[\]]\s*@\s*([^\s@<>(),;:\"'\[\]\\]*\.[^\s@<>(),;:\"'\[\]\\]+)")
# letters that domain names of today keep and those of yesterday turned into others, or dropped (UTS 46 section 7)
_DEVIATIONS = frozenset("ß\u03c2\u200c\u200d")


class _Token(NamedTuple):
    kind: str
    """`word`, `quoted`, or the special character itself."""
    text: str
    glued: bool
    """Nothing stands between it and the token before."""


def parse_mailbox_list(value: bytes) -> tuple[Mailbox, ...]:
    """Return the mailboxes of an unfolded From field, one at least (RFC 5322 §3.4, RFC 6532 §3.2).

    Raises:
        ValueError: the value is no mailbox-list, or one that not every receiver would read in the same way.
    """
    if len(value) > MAX_FIELD:
        raise ValueError(f"a list of mailboxes of {len(value)} octets is longer than {MAX_FIELD}")
    # an application writes in the same names all day
    return _read(value) if len(value) < _REMEMBERED else _read.__wrapped__(value)


@lru_cache(maxsize=1024)
def _read(value: bytes) -> tuple[Mailbox, ...]:
    text = value.decode("utf-8", "surrogateescape")
    if _CONTROL.search(text):
        raise ValueError("a control character stands in a list of mailboxes")
    if "\\" in text and _NOT_UTF8.search(text):
        raise ValueError("a backslash stands in a list of mailboxes that is not UTF-8")
    tokens = _tokens(text)
    mailboxes: list[Mailbox] = []
    entry: list[_Token] = []
    for token in tokens:
        if token.kind == ",":
            mailboxes.append(_mailbox(entry))
            entry = []
        else:
            entry.append(token)
    mailboxes.append(_mailbox(entry))
    _check_decoded(decoded(text), mailboxes)
    return tuple(mailboxes)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, glued = 0, False
    while at < len(text):
        letter = text[at]
        if blanks := _BLANKS.match(text, at):
            at, glued = blanks.end(), False
        elif letter == "(":
            at, glued = _after_comment(text, at), False
        elif quoted := _QUOTED.match(text, at):
            tokens.append(_Token("quoted", quoted[0], glued))
            at, glued = quoted.end(), True
        elif word := _WORD.match(text, at):
            tokens.append(_Token("word", word[0], glued))
            at, glued = word.end(), True
        elif letter in ",<>@.":
            tokens.append(_Token(letter, letter, glued))
            at, glued = at + 1, True
        elif letter in ":;":
            raise ValueError("a group or a route stands in a list of mailboxes")
        else:
            raise ValueError(f"{letter!r} has no place in a list of mailboxes")
    return tokens


def _after_comment(text: str, start: int) -> int:
    depth, at = 0, start
    while step := _COMMENT_STEP.match(text, at):
        at = step.end()
        depth += {"(": 1, ")": -1}.get(step[0], 0)
        if depth == 0:
            if "@" in text[start:at]:
                raise ValueError("a comment holds an address")
            return at
    raise ValueError("a comment does not end")


def _mailbox(entry: list[_Token]) -> Mailbox:
    """One entry between commas: `addr-spec`, or `[phrase] <addr-spec>`."""
    kinds = [token.kind for token in entry]
    if "<" not in kinds:
        return _address(entry)
    opening = kinds.index("<")
    if kinds.count("<") > 1 or kinds.count(">") > 1 or kinds[-1] != ">":
        raise ValueError("angle brackets do not stand around one address at the end")
    if "@" in kinds[:opening]:
        raise ValueError("a display name holds an unquoted @")
    if any("@" in token.text and ("<" in token.text or ">" in token.text) for token in entry[:opening]):
        raise ValueError("a display name holds an address in angle brackets")
    return _address(entry[opening + 1 : -1])


def _address(tokens: list[_Token]) -> Mailbox:
    """An addr-spec. Blanks and comments may stand around it, not in it."""
    if not tokens:
        raise ValueError("an address is missing")
    if any(not token.glued for token in tokens[1:]):
        raise ValueError("a blank or a comment stands inside an address")
    if any(token.kind in "<>" for token in tokens):
        raise ValueError("an angle bracket stands alone")
    text = "".join(token.text for token in tokens)
    mailbox = Mailbox.parse(text, utf8=True)
    _check_local_part(mailbox.local_part)
    _check_domain(text.rpartition("@")[2], mailbox.domain)
    return mailbox


def _check_local_part(local_part: str) -> None:
    """Refuse local parts that are proper, and famous for being read as something else."""
    if "=?" in local_part:
        # no place for encoded words (RFC 2047 §5), yet many readers decode them there too
        raise ValueError("an address holds an encoded word")
    if local_part.startswith('"') and not _TAME_QUOTED.fullmatch(local_part):
        raise ValueError("a quoted local part holds a special character")
    if not local_part.isascii() and _SPECIAL & set(unicodedata.normalize("NFKC", local_part)) - set(local_part):
        raise ValueError("a letter of a local part stands for a special character")


def _check_domain(written: str, domain: str) -> None:
    """Refuse U-labels that are not written as they are meant: others map letters in other ways, or not at all."""
    if written.isascii():
        return
    if _DEVIATIONS & set(written) or unicodedata.normalize("NFC", written).lower() != idna.decode(domain):
        raise ValueError(f"write the domain as {domain}, which every reader takes for the same")


def _check_decoded(texts: list[str], mailboxes: list[Mailbox]) -> None:
    """Look at encoded words (RFC 2047 §2) as those readers do that decode a field first and take it apart then."""
    domains = {mailbox.domain for mailbox in mailboxes}
    for text in texts:
        if _HIDDEN_CONTROL.search(text):
            raise ValueError("an encoded word hides a control character")
        if "@" in text and ("<" in text or ">" in text):
            raise ValueError("an encoded word hides an address in angle brackets")
        if not domains.issuperset(_as_a_labels(match[1]) for match in _SHOWN_DOMAIN.finditer(text)):
            raise ValueError("an encoded word hides an address of another domain")


def _as_a_labels(domain: str) -> str:
    try:
        return parse_domain(domain.rstrip("."))
    except ValueError:
        return domain
