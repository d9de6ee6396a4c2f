"""How the messages of these tests came."""

from datetime import UTC, datetime

from mta.mail.intake import Circumstances

AT = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
HOW = Circumstances("0123456789abcdef", AT, "mail.example.com", "client.example.net", "ESMTPSA")
