"""What a refusal means for the address it speaks of: words first, codes where the words are unknown.

Used for the replies to our own deliveries and for what reports quote. Servers misuse codes (`550 5.1.1` for a blocked
network, `550` for a rate), so a rule about words wins over one about codes. Whether anything is suppressed is decided
elsewhere.
"""

from mta.bounces.phrases import fold
from mta.bounces.report import UNKNOWN, Classification
from mta.bounces.rules import Rule, Rules
from mta.mail.reply import EnhancedStatus


class Classifier:
    """Applies a set of rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def reply(self, code: int | None, status: EnhancedStatus | None, *texts: str) -> Classification:
        """Return what a reply means.

        Of several texts the first whose words are known decides; a report offers the quoted reply before its prose.
        """
        for text in texts:
            known = self.words(code, status, text)
            if known != UNKNOWN:
                return known
        return self._first(self._rules.codes, code, status, "")

    def words(self, code: int | None, status: EnhancedStatus | None, text: str) -> Classification:
        """Return what a text means; UNKNOWN when no rule knows its words, whatever the codes say."""
        return self._first(self._rules.texts, code, status, fold(text)) if text else UNKNOWN

    @staticmethod
    def _first(rules: tuple[Rule, ...], code: int | None, status: EnhancedStatus | None, folded: str) -> Classification:
        written = str(status or "")
        rule = next((rule for rule in rules if rule.holds(code, written, folded)), None)
        if rule is None:
            return UNKNOWN
        klass = status.klass if status is not None else (code or 0) // 100
        return Classification(rule.reason, rule.temporary if klass == 4 else rule.hardness)
