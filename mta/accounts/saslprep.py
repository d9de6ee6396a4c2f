"""Names and passwords as SASL compares them: SASLprep (RFC 4013), a profile of stringprep (RFC 3454).

The tables are those of Unicode 3.2, as the RFC wants: what two programs prepare alike must not depend on their age.
"""

import stringprep
import unicodedata
from collections.abc import Callable

_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepare(text: str, *, stored: bool = False) -> str:
    """Return a text in the one form of all that look alike (RFC 4013 §2).

    `stored`: it will be kept, so that letters which Unicode 3.2 does not know are refused (RFC 4013 §2.5).

    Raises:
        ValueError: it has what no name or password may have; the text is not quoted, since it may be a secret.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter for letter in text if not stringprep.in_table_b1(letter)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for letter in prepared:
        if any(prohibits(letter) for prohibits in _PROHIBITED):
            raise ValueError("it has a control character or another that must not be in it (RFC 4013 section 2.3)")
        if stored and stringprep.in_table_a1(letter):
            raise ValueError("it has a character that Unicode 3.2 did not know (RFC 4013 section 2.5)")
    if not _is_one_way(prepared):
        raise ValueError("it mixes writing from the left and from the right (RFC 3454 section 6)")
    return prepared


def _is_one_way(text: str) -> bool:
    """Whether a text with letters written from the right keeps to them (RFC 3454 §6)."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    ends_right = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends_right and not any(map(stringprep.in_table_d2, text))
