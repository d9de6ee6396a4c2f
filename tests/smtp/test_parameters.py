import pytest

from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.parameters import Argument, Refused, split


@pytest.mark.parametrize(
    ("argument", "forgive_blank", "found"),
    [
        ("FROM:<a@b>", False, Argument("<a@b>", {})),
        ("from:<>  size=1 ", False, Argument("<>", {"SIZE": "1"})),
        ("FROM: <a@b>", True, Argument("<a@b>", {})),
        ("FROM:   <a@b> X", True, Argument("<a@b>", {"X": None})),
        ("FROM: <a@b>", False, failures.BAD_SYNTAX),
        ("FROM:", True, failures.BAD_SYNTAX),
        ("FROM :<a@b>", True, failures.BAD_SYNTAX),
        ("TO:<a@b>", True, failures.BAD_SYNTAX),
        ("FROM:a@b", True, failures.BAD_SYNTAX),
        ("FROM:<a@b>X=1", True, failures.BAD_SYNTAX),
        ("FROM:<a@b> X=1 x=2", False, failures.bad_parameter("X")),
        ("FROM:<a@b> " + " ".join(f"X{n}" for n in range(21)), False, failures.BAD_SYNTAX),
    ],
)
def test_an_argument_is_a_path_and_parameters(argument: str, forgive_blank: bool, found: Argument | Reply) -> None:
    try:
        came: Argument | Reply = split(argument, "FROM:", forgive_blank=forgive_blank)
    except Refused as refused:
        came = refused.reply
    assert came == found
