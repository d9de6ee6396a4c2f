"""The house keeps its order (tests/architecture/rules.py), and each rule has been seen to fail."""

from pathlib import Path

import pytest

from tests.architecture.rules import (
    CHECKS,
    Check,
    Modules,
    every_exception_is_needed,
    every_module_has_a_layer,
    every_module_says_what_it_is_for,
    modules_of,
    no_edge_knows_another,
    no_import_circle,
    no_import_inside_a_function,
    no_import_points_upward,
    no_package_imports_a_later_one,
    nothing_impure_is_used,
    pure_layers_import_no_io,
    sql_is_never_put_together,
    unexplained_suppressions,
    words_and_rules_use_pure_libraries,
)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def house() -> Modules:
    files = sorted((ROOT / "mta").rglob("*.py"))
    return modules_of({file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_keeps(check: Check, house: Modules) -> None:
    findings = "\n".join(map(str, check(house)))
    assert not findings, f"\n{check.__doc__}\n{findings}"


def test_every_suppression_has_a_code_and_a_reason() -> None:
    files = [file for folder in ("mta", "tests", "bench", "fuzz") for file in sorted((ROOT / folder).rglob("*.py"))]
    findings = [
        str(finding)
        for file in files
        for finding in unexplained_suppressions(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8"))
    ]
    assert not findings, "\n" + "\n".join(findings)


DOC = '"""For tests."""\n'


@pytest.mark.parametrize(
    ("check", "sources", "line"),
    [
        (every_module_has_a_layer, {"mta/utils.py": ""}, 1),
        (no_import_points_upward, {"mta/mail/a.py": "import mta.queue.store"}, 1),
        (
            no_import_points_upward,
            {"mta/queue/model.py": "\nfrom mta.queue import dispatcher", "mta/queue/dispatcher.py": ""},
            2,
        ),
        (no_import_points_upward, {"mta/queue/dispatcher.py": "from mta.storage.sqlite import SqliteStore"}, 1),
        (no_import_points_upward, {"mta/web/app.py": "from mta.config.load import load"}, 1),
        (no_import_points_upward, {"mta/smtp/session.py": "from mta.submission.auth import Authenticator"}, 1),
        (no_import_points_upward, {"mta/config/settings.py": "from .load import load"}, 1),
        (no_import_points_upward, {"mta/queue/__init__.py": "from .dispatcher import Dispatcher"}, 1),
        (no_import_points_upward, {"mta/mail/a.py": "def f():\n    from mta.daemon import serve"}, 2),
        (no_package_imports_a_later_one, {"mta/bounces/processor.py": "from mta.queue.model import Delivery"}, 1),
        (no_package_imports_a_later_one, {"mta/accounts/a.py": "from mta.queue import model"}, 1),
        (no_package_imports_a_later_one, {"mta/dkim/a.py": "from ..bounces import dsn"}, 1),
        (no_edge_knows_another, {"mta/storage/a.py": "from mta.delivery.mx import Mx"}, 1),
        (no_edge_knows_another, {"mta/web/a.py": "from mta import storage", "mta/storage/__init__.py": DOC}, 1),
        (no_import_circle, {"mta/mail/a.py": "from mta.mail import b", "mta/mail/b.py": "import mta.mail.a"}, 1),
        (
            no_import_circle,
            {
                "mta/a.py": "from . import b",
                "mta/b.py": "import mta.c",
                "mta/c.py": "def f():\n    from mta.a import x",
            },
            1,
        ),
        (no_import_inside_a_function, {"mta/cli/a.py": "def f():\n    import rich"}, 2),
        (no_import_inside_a_function, {"mta/cli/a.py": "async def f():\n    if 1:\n        from mta import b"}, 3),
        (no_import_inside_a_function, {"mta/cli/a.py": "import importlib\nimportlib.import_module('rich')"}, 2),
        (no_import_inside_a_function, {"mta/cli/a.py": "f = lambda: __import__('rich')"}, 1),
        (pure_layers_import_no_io, {"mta/mail/a.py": "import asyncio"}, 1),
        (pure_layers_import_no_io, {"mta/queue/store.py": "from sqlite3 import Row"}, 1),
        (pure_layers_import_no_io, {"mta/dkim/a.py": "from os.path import join"}, 1),
        (pure_layers_import_no_io, {"mta/config/values.py": "import urllib.request"}, 1),
        (pure_layers_import_no_io, {"mta/queue/dispatcher.py": "import asyncio\nimport socket"}, 2),
        (words_and_rules_use_pure_libraries, {"mta/mail/a.py": "import argon2"}, 1),
        (words_and_rules_use_pure_libraries, {"mta/queue/a.py": "from dns.resolver import Answer"}, 1),
        (nothing_impure_is_used, {"mta/mail/a.py": "import time\nx = time.time()"}, 2),
        (nothing_impure_is_used, {"mta/mail/a.py": "from time import monotonic as m\nx = m()"}, 2),
        (
            nothing_impure_is_used,
            {"mta/mail/a.py": "import time as t\nfield(default_factory=t.time)"},
            2,
        ),
        (
            nothing_impure_is_used,
            {"mta/queue/a.py": "from datetime import datetime\ndatetime.now(UTC)"},
            2,
        ),
        (nothing_impure_is_used, {"mta/queue/a.py": "import datetime as d\nd.datetime.now()"}, 2),
        (nothing_impure_is_used, {"mta/queue/a.py": "import random\nrandom.random()"}, 2),
        (nothing_impure_is_used, {"mta/queue/a.py": "from random import choice\nchoice([1])"}, 2),
        (nothing_impure_is_used, {"mta/queue/a.py": "import random\nd = random.Random()"}, 2),
        (
            nothing_impure_is_used,
            {"mta/queue/a.py": "from random import SystemRandom\nSystemRandom()"},
            2,
        ),
        (nothing_impure_is_used, {"mta/dkim/a.py": "open('key.pem')"}, 1),
        (nothing_impure_is_used, {"mta/dkim/a.py": "Path('key.pem').read_bytes()"}, 1),
        (nothing_impure_is_used, {"mta/queue/dispatcher.py": "import time\ntime.sleep(1)"}, 2),
        (nothing_impure_is_used, {"mta/clock.py": "import time\ntime.time()"}, 2),
        (every_module_says_what_it_is_for, {"mta/mail/a.py": "x = 1"}, 1),
        (every_module_says_what_it_is_for, {"mta/mail/a.py": '"""  """'}, 1),
        (every_module_says_what_it_is_for, {"mta/mail/__init__.py": DOC + "from mta.mail.a import b"}, 2),
        (sql_is_never_put_together, {"mta/storage/a.py": "c.execute(f'SELECT {x}')"}, 1),
        (sql_is_never_put_together, {"mta/storage/a.py": "c.execute(f'SELECT {x!r:>5d}')"}, 1),
        (sql_is_never_put_together, {"mta/storage/a.py": "c.execute('SELECT ' + x)"}, 1),
        (sql_is_never_put_together, {"mta/storage/a.py": "c.executescript('SELECT %s' % x)"}, 1),
        (sql_is_never_put_together, {"mta/storage/a.py": "c.executemany('SELECT {}'.format(x), rows)"}, 1),
        (sql_is_never_put_together, {"mta/cli/a.py": "q = f'SELECT {x}'\nc.execute(q)"}, 2),
        (sql_is_never_put_together, {"mta/cli/a.py": "q = ''\nq += ','.join(x)\nc.execute(q)"}, 3),
    ],
)
def test_a_rule_sees_what_breaks_it(check: Check, sources: dict[str, str], line: int) -> None:
    (finding, *more) = check(modules_of(sources))
    assert finding.line == line
    assert not more
    assert ";" in finding.text, "a finding says what to do"


@pytest.mark.parametrize(
    ("check", "sources"),
    [
        (every_module_has_a_layer, {"mta/__init__.py": DOC, "mta/queue/anything.py": "", "mta/cli/main.py": ""}),
        (no_import_points_upward, {"mta/queue/store.py": "from mta.mail import reply\nimport mta.queue.model"}),
        (no_import_points_upward, {"mta/daemon.py": "import mta.storage.sqlite\nimport mta.config.load"}),
        (
            no_package_imports_a_later_one,
            {"mta/queue/a.py": "import mta.bounces.dsn", "mta/dkim/a.py": "import mta.mail"},
        ),
        (
            no_edge_knows_another,
            {"mta/storage/a.py": "from mta.storage import b", "mta/daemon.py": "import mta.web.app"},
        ),
        (no_edge_knows_another, {"mta/inbound/a.py": "import mta.smtp.session", "mta/smtp/session.py": "import ssl"}),
        (
            no_import_circle,
            {"mta/a.py": "import mta.b\nimport mta.c", "mta/b.py": "import mta.c", "mta/c.py": "import mta"},
        ),
        (no_import_inside_a_function, {"mta/cli/a.py": "try:\n    import uvloop\nexcept ImportError:\n    pass"}),
        (pure_layers_import_no_io, {"mta/queue/dispatcher.py": "import asyncio", "mta/web/a.py": "import ssl"}),
        (pure_layers_import_no_io, {"mta/mail/a.py": "from urllib.parse import quote"}),
        (
            words_and_rules_use_pure_libraries,
            {"mta/accounts/a.py": "import argon2", "mta/web/a.py": "import starlette"},
        ),
        (
            nothing_impure_is_used,
            {"mta/queue/a.py": "import random\ndef f(d: random.Random): d.random()"},
        ),
        (nothing_impure_is_used, {"mta/storage/a.py": "open('x')", "mta/mail/a.py": "self.open()"}),
        (nothing_impure_is_used, {"mta/mail/a.py": "from datetime import datetime\nclock.now()"}),
        (every_module_says_what_it_is_for, {"mta/mail/__init__.py": DOC, "mta/mail/a.py": DOC + "x = 1"}),
        (sql_is_never_put_together, {"mta/storage/a.py": "c.execute(SQL['due'], {'now': f'{x}'})"}),
        (sql_is_never_put_together, {"mta/storage/a.py": "c.execute(f'PRAGMA page_size = {size:d}')"}),
    ],
)
def test_a_rule_lets_pass_what_keeps_it(check: Check, sources: dict[str, str]) -> None:
    assert list(check(modules_of(sources))) == []


@pytest.mark.parametrize(
    ("path", "source", "gone"),
    [
        ("mta/clock.py", "import time\ntime.monotonic()", "mta.clock does not use datetime.datetime.now"),
        ("mta/storage/migrate.py", "c.executescript('BEGIN')", "mta.storage.migrate makes no SQL for executescript"),
        ("mta/errors.py", "", "mta.clock does not use time.monotonic"),
    ],
)
def test_an_exception_that_nobody_needs_any_more_is_found(path: str, source: str, gone: str) -> None:
    findings = [str(finding) for finding in every_exception_is_needed(modules_of({path: source}))]
    assert any(gone in finding for finding in findings)


@pytest.mark.parametrize(
    ("comment", "explained"),
    [
        ("# noqa", False),
        ("# noqa: S101", False),
        ("# noqa: S101  ", False),
        ("# noqa because it is so", False),
        ("# type: ignore", False),
        ("# type: ignore[misc]", False),
        ("# type: ignore  # because it is so", False),
        ("# type: ignore[misc]  # noqa: S101  because it is so", True),
        ("# noqa: S101  `open` came before", True),
        ("# noqa: S101, B008 - a frozen value", True),
        ("# type: ignore[misc]  # dkimpy has no types", True),
        ("# an ordinary comment", True),
        ("'# noqa'", True),
    ],
)
def test_a_suppression_needs_a_code_and_a_reason(comment: str, explained: bool) -> None:
    assert (
        not list(unexplained_suppressions("a.py", f"x = 1  {comment}\n" if comment[0] == "#" else comment))
    ) == explained
