"""Who may import whom, and what each layer may touch: the house's order as data, read from the sources with `ast`.

Every rule is a function from modules to findings; a finding says where, what, and what to do. The tests run the rules
on the house, and on small sources that break them. Sizes are no gate; the reviewer's eye decides on them.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from graphlib import CycleError, TopologicalSorter


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Layer(IntEnum):
    """A module may import modules of its own layer and of those below."""

    WORDS = 0
    RULES = 1
    ENGINE = 2
    FLOOR = 3
    """What several edges stand on: it may use the network, and knows no edge."""
    EDGE = 4
    TOP = 5


# The longest name that begins a module's name places it. Where a package is split, its default is the stricter layer.
LAYERS: Mapping[str, Layer] = {
    "mta.mail": Layer.WORDS,
    "mta.dkim": Layer.WORDS,
    "mta.events": Layer.WORDS,
    "mta.events_json": Layer.WORDS,
    "mta.clock": Layer.WORDS,
    "mta.errors": Layer.WORDS,
    "mta.config": Layer.WORDS,
    "mta.config.load": Layer.TOP,
    "mta.bounces": Layer.RULES,
    "mta.bounces.processor": Layer.ENGINE,
    "mta.reputation": Layer.RULES,
    "mta.accounts": Layer.RULES,
    "mta.accounts.watch": Layer.ENGINE,
    "mta.queue": Layer.RULES,
    "mta.queue.dispatcher": Layer.ENGINE,
    "mta.queue.attempt": Layer.ENGINE,
    "mta.queue.leases": Layer.ENGINE,
    "mta.queue.ledger": Layer.ENGINE,
    "mta.queue.notices": Layer.ENGINE,
    "mta.queue.places": Layer.ENGINE,
    "mta.queue.room": Layer.ENGINE,
    "mta.queue.traffic": Layer.ENGINE,
    "mta.queue.window": Layer.ENGINE,
    "mta.queue.returns": Layer.ENGINE,
    "mta.queue.withheld": Layer.ENGINE,
    "mta.smtp": Layer.FLOOR,
    "mta.storage": Layer.EDGE,
    "mta.delivery": Layer.EDGE,
    "mta.submission": Layer.EDGE,
    "mta.inbound": Layer.EDGE,
    "mta.web": Layer.EDGE,
    "mta.observe": Layer.EDGE,
    "mta.doctor": Layer.EDGE,
    "mta.control": Layer.TOP,
    "mta.assembly": Layer.TOP,
    "mta.roster": Layer.TOP,
    "mta.own_mail": Layer.TOP,
    "mta.tls_books": Layer.TOP,
    "mta.way_out": Layer.TOP,
    "mta.process": Layer.TOP,
    "mta.mailroom": Layer.TOP,
    "mta.certificates": Layer.TOP,
    "mta.daemon": Layer.TOP,
    "mta.doors": Layer.TOP,
    "mta.signals": Layer.TOP,
    "mta.inspection": Layer.TOP,
    "mta.parts": Layer.TOP,
    "mta.supervisor": Layer.TOP,
    "mta.cli": Layer.TOP,
    "mta.demo": Layer.TOP,
    "mta.__main__": Layer.TOP,
}
# Packages stand in a line: none imports one that stands later. `mail` and `dkim` share the first place.
LINE: Mapping[str, int] = {
    "mta.mail": 0,
    "mta.dkim": 0,
    "mta.bounces": 1,
    "mta.reputation": 2,
    "mta.accounts": 3,
    "mta.queue": 4,
}
IO_MODULES = _words(
    """
    aiosqlite asyncio concurrent ftplib http imaplib multiprocessing os poplib secrets select selectors shutil signal
    smtplib socket socketserver sqlite3 ssl subprocess tempfile threading urllib.request
    """
)
_COMPUTING = frozenset({"cryptography", "dkim", "idna", "msgspec", "publicsuffixlist", "pydantic"})
PURE_LIBRARIES: Mapping[Layer, frozenset[str]] = {
    Layer.WORDS: frozenset({"cryptography", "dkim", "idna", "msgspec", "publicsuffixlist", "pydantic"}),
    Layer.RULES: frozenset(
        {"cryptography", "dkim", "idna", "msgspec", "publicsuffixlist", "pydantic", "argon2", "scramp"}
    ),
}
CLOCKS_AND_FILES = _words(
    """
    open input print datetime.date.today datetime.datetime.now datetime.datetime.today datetime.datetime.utcnow
    time.gmtime time.localtime time.monotonic time.monotonic_ns time.perf_counter time.perf_counter_ns time.sleep
    time.time time.time_ns uuid.uuid1 uuid.uuid4
    """
)
FILE_METHODS = _words(
    """
    iterdir mkdir read_bytes read_text touch unlink write_bytes write_text
    """
)
# module -> names it may use, and why
IMPURE: Mapping[str, tuple[frozenset[str], str]] = {
    "mta.clock": (frozenset({"datetime.datetime.now", "time.monotonic"}), "SystemClock is the house's one clock"),
}
# (module, what it imports inside a function) -> why
LATE_IMPORTS: Mapping[tuple[str, str], str] = {}
# (module, method) that gets SQL which is put together -> why
MADE_SQL: Mapping[tuple[str, str], str] = {
    ("mta.storage.migrate", "executescript"): "the steps are files of ours, each run behind BEGIN IMMEDIATE",
    ("mta.storage.at_once", "execute"): "a view and its trigger are made of the texts in sql/, and hold no values",
}
_HERE = "tests/architecture/rules.py"
EXECUTES = frozenset({"execute", "executemany", "executescript", "execute_fetchall", "execute_insert"})
SUPPRESSION = re.compile(
    r"#\s*(?:type:\s*ignore|noqa)(?P<code>(?:\[[\w, -]+\]|:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?)(?P<why>.*)"
)


@dataclass(frozen=True, slots=True)
class Module:
    """One source file of the package."""

    name: str
    path: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether it is an `__init__.py`."""
        return self.path.endswith("__init__.py")


@dataclass(frozen=True, slots=True)
class Import:
    """One import, resolved to a module as far as it is one."""

    line: int
    target: str
    late: bool
    """Inside a function or a class."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, where, and what to do."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


Modules = Mapping[str, Module]


def modules_of(sources: Mapping[str, str]) -> Modules:
    """Read modules from their paths, relative to the package's parent, and texts."""
    found = {}
    for path, source in sources.items():
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        found[name] = Module(name, path, ast.parse(source, path))
    return found


def layer_of(name: str) -> Layer | None:
    """Return where a module stands; None where the table does not say."""
    parts = name.split(".")
    prefixes = (".".join(parts[:size]) for size in range(len(parts), 0, -1))
    return next((LAYERS[prefix] for prefix in prefixes if prefix in LAYERS), None)


def package_of(name: str) -> str:
    """Return a module's package: the first two names."""
    return ".".join(name.split(".")[:2])


def imports_of(module: Module, modules: Modules) -> list[Import]:
    """Return all imports of a module, wherever they stand."""
    found: list[Import] = []

    def visit(node: ast.AST, late: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend(Import(child.lineno, alias.name, late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = _base(module, child)
                for alias in child.names:
                    whole = f"{base}.{alias.name}"
                    found.append(Import(child.lineno, whole if whole in modules else base, late))
            elif isinstance(child, ast.Call) and _dotted(child.func) in ("__import__", "importlib.import_module"):
                name = child.args[0].value if child.args and isinstance(child.args[0], ast.Constant) else "?"
                found.append(Import(child.lineno, str(name), True))
            scope = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
            visit(child, late or scope)

    visit(module.tree, False)
    return found


def _base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    parts = parts[: len(parts) - node.level + (1 if module.is_package else 0)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _dotted(node: ast.expr) -> str:
    """Return `a.b.c` for such an expression, else nothing."""
    if isinstance(node, ast.Attribute):
        front = _dotted(node.value)
        return f"{front}.{node.attr}" if front else ""
    return node.id if isinstance(node, ast.Name) else ""


def _own(modules: Modules) -> Iterator[tuple[Module, Import]]:
    for module in modules.values():
        for one in imports_of(module, modules):
            if one.target == "mta" or one.target.startswith("mta."):
                yield module, one


def every_module_has_a_layer(modules: Modules) -> Iterator[Finding]:
    """The tables above know every module."""
    for module in modules.values():
        if module.name != "mta" and layer_of(module.name) is None:
            yield Finding(module.path, 1, "has no layer; add it to LAYERS in tests/architecture/rules.py")


def no_import_points_upward(modules: Modules) -> Iterator[Finding]:
    """A layer knows itself and those below."""
    for module, one in _own(modules):
        mine, theirs = layer_of(module.name), layer_of(one.target)
        if mine is not None and theirs is not None and theirs > mine:
            yield Finding(
                module.path,
                one.line,
                f"a module of {mine.name} imports {one.target} of {theirs.name}; take it by constructor, "
                "through a Protocol declared here, or move the code up",
            )


def no_package_imports_a_later_one(modules: Modules) -> Iterator[Finding]:
    """mail, dkim, bounces, reputation, accounts, queue."""
    for module, one in _own(modules):
        mine, theirs = LINE.get(package_of(module.name)), LINE.get(package_of(one.target))
        if mine is not None and theirs is not None and theirs > mine:
            yield Finding(
                module.path,
                one.line,
                f"{package_of(module.name)} imports {one.target}, which stands later in the line of packages; "
                "hand what was found to a protocol of this package's own",
            )


def no_edge_knows_another(modules: Modules) -> Iterator[Finding]:
    """Edges meet in the daemon only."""
    for module, one in _own(modules):
        edges = layer_of(module.name) is Layer.EDGE and layer_of(one.target) is Layer.EDGE
        if edges and package_of(module.name) != package_of(one.target):
            yield Finding(
                module.path,
                one.line,
                f"an edge imports another, {one.target}; declare the seam beside its user and join both in mta.daemon",
            )


def no_import_circle(modules: Modules) -> Iterator[Finding]:
    """Modules can be put in an order."""
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for module, one in _own(modules):
        if one.target in modules and one.target != module.name:
            graph[module.name].add(one.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = list(reversed(error.args[1]))
        yield Finding(
            modules[circle[0]].path, 1, f"imports in a circle: {' -> '.join(circle)}; move what they share down"
        )


def no_import_inside_a_function(modules: Modules) -> Iterator[Finding]:
    """What a module needs stands at its top."""
    for module in modules.values():
        for one in imports_of(module, modules):
            if one.late and (module.name, one.target) not in LATE_IMPORTS:
                yield Finding(
                    module.path,
                    one.line,
                    f"imports {one.target} inside a function; move it to the top, or give the reason in LATE_IMPORTS",
                )


def pure_layers_import_no_io(modules: Modules) -> Iterator[Finding]:
    """Words and rules touch no network, database, process or file; engines have asyncio besides."""
    for module in modules.values():
        layer = layer_of(module.name)
        if layer is None or layer > Layer.ENGINE:
            continue
        allowed = {"asyncio"} if layer is Layer.ENGINE else set()
        for one in imports_of(module, modules):
            names = {one.target, one.target.partition(".")[0]}
            if names & IO_MODULES - allowed:
                yield Finding(
                    module.path, one.line, f"a module of {layer.name} imports {one.target}; leave it to an edge"
                )


def words_and_rules_use_pure_libraries(modules: Modules) -> Iterator[Finding]:
    """The libraries that layers 0 and 1 may know are counted."""
    for module in modules.values():
        layer = layer_of(module.name)
        if layer is None or layer not in PURE_LIBRARIES:
            continue
        for one in imports_of(module, modules):
            name = one.target.partition(".")[0]
            if name not in sys.stdlib_module_names | PURE_LIBRARIES[layer] | {"mta"}:
                yield Finding(
                    module.path,
                    one.line,
                    f"a module of {layer.name} imports the library {name}; leave it to an edge, or add it to "
                    "PURE_LIBRARIES if it does no I/O",
                )


def nothing_impure_is_used(modules: Modules) -> Iterator[Finding]:
    """Time, dice and octets come as arguments."""
    for module in modules.values():
        layer = layer_of(module.name)
        if layer is None or layer > Layer.ENGINE:
            continue
        allowed = IMPURE.get(module.name, (frozenset(), ""))[0]
        for line, name in _impure_names(module.tree):
            if name not in allowed:
                yield Finding(
                    module.path,
                    line,
                    f"a module of {layer.name} uses {name}; take a Clock, a random.Random or the octets as an argument",
                )


def _impure_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call | ast.Attribute | ast.Name):
            continue
        first, dot, rest = _dotted(node.func if isinstance(node, ast.Call) else node).partition(".")
        name = aliases.get(first, first) + dot + rest
        if isinstance(node, ast.Call):
            # as the type of an argument it is welcome, made here it would be seeded by the machine
            if name == "random.Random":
                yield node.lineno, f"{name}()"
            elif isinstance(node.func, ast.Attribute) and node.func.attr in FILE_METHODS:
                yield node.lineno, f".{node.func.attr}()"
        elif name in CLOCKS_AND_FILES or (name.startswith("random.") and name != "random.Random"):
            yield node.lineno, name


def every_exception_is_needed(modules: Modules) -> Iterator[Finding]:
    """An entry of IMPURE, LATE_IMPORTS or MADE_SQL goes when its reason goes."""
    for name, (names, _) in IMPURE.items():
        used = {used for _, used in _impure_names(modules[name].tree)} if name in modules else set()
        for unused in sorted(names - used):
            yield Finding(_HERE, 1, f"{name} does not use {unused}; take it out of IMPURE")
    for name, target in LATE_IMPORTS:
        late = {one.target for one in imports_of(modules[name], modules) if one.late} if name in modules else set()
        if target not in late:
            yield Finding(_HERE, 1, f"{name} imports {target} no more; take it out of LATE_IMPORTS")
    for name, method in MADE_SQL:
        if not (name in modules and any(made == method for _, made in _made_sql(modules[name].tree))):
            yield Finding(_HERE, 1, f"{name} makes no SQL for {method} any more; take it out of MADE_SQL")


def every_module_says_what_it_is_for(modules: Modules) -> Iterator[Finding]:
    """A docstring opens every module, and a package's root is nothing more."""
    for module in modules.values():
        if not (ast.get_docstring(module.tree) or "").strip():
            yield Finding(module.path, 1, "has no docstring; say what it is for and what it leaves to others")
        elif module.is_package and len(module.tree.body) > 1:
            line = module.tree.body[1].lineno
            yield Finding(module.path, line, "holds more than its docstring; move it to a module and import that one")


def sql_is_never_put_together(modules: Modules) -> Iterator[Finding]:
    """A statement is a constant; values are parameters. Only whole numbers may be formatted into it, with `:d`."""
    for module in modules.values():
        for line, method in _made_sql(module.tree):
            if (module.name, method) not in MADE_SQL:
                yield Finding(
                    module.path,
                    line,
                    f"{method}() gets a statement that is put together; write it into sql/ with :parameters "
                    "(json_each for lists), or format a whole number with :d",
                )


def _made_sql(tree: ast.Module) -> Iterator[tuple[int, str]]:
    assigned: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                assigned.setdefault(_dotted(target), []).append(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in EXECUTES:
            for statement in node.args[:1]:
                # a name stands for whatever the module ever calls so
                named = assigned.get(_dotted(statement), []) if _dotted(statement) else []
                if any(_is_put_together(value) for value in (statement, *named)):
                    yield node.lineno, node.func.attr


def _is_put_together(statement: ast.expr) -> bool:
    for node in ast.walk(statement):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("format", "format_map", "join", "replace", "substitute"):
                return True
        elif isinstance(node, ast.FormattedValue) and not _is_number(node):
            return True
    return False


def _is_number(value: ast.FormattedValue) -> bool:
    spec = value.format_spec
    return isinstance(spec, ast.JoinedStr) and [ast.unparse(part) for part in spec.values] == ["'d'"]


def unexplained_suppressions(path: str, source: str) -> Iterator[Finding]:
    """Each `type: ignore` and `noqa` names its code and its reason."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            for match in SUPPRESSION.finditer(token.string):
                if not match["code"] or not re.search(r"[A-Za-z]{3}", match["why"]):
                    yield Finding(
                        path,
                        token.start[0],
                        "a suppression without code or reason; write `# noqa: S101  why`, "
                        "`# type: ignore[code]  # why`",
                    )


Check = Callable[[Modules], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    every_module_has_a_layer,
    no_import_points_upward,
    no_package_imports_a_later_one,
    no_edge_knows_another,
    no_import_circle,
    no_import_inside_a_function,
    pure_layers_import_no_io,
    words_and_rules_use_pure_libraries,
    nothing_impure_is_used,
    every_exception_is_needed,
    every_module_says_what_it_is_for,
    sql_is_never_put_together,
)
