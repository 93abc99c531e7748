"""Habits of the source: no effects at import, nothing swallowed, everything public explained."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.policy.source import SOURCES, name_of, tree_of

# Calls that only make a constant or a definition, and how typer declares verbs.
SAFE_CALLS = {
    *("TypeVar", "ParamSpec", "NewType", "Field", "ConfigDict", "field", "dataclass", "model_validator"),
    *(
        "field_validator",
        "overload",
        "frozenset",
        "set",
        "dict",
        "tuple",
        "list",
        "range",
        "len",
        "sorted",
        "zip",
    ),
    *(
        "enumerate",
        "str",
        "int",
        "float",
        "compile",
        "getLogger",
        "no_grad",
        "inference_mode",
        "contextmanager",
    ),
    *(
        "cache",
        "dtype",
        "nextafter",
        "lru_cache",
        "wraps",
        "items",
        "keys",
        "values",
        "join",
        "split",
        "with_name",
        "array",
    ),
    *("Typer", "Option", "Argument", "command", "callback"),
}
STATEMENTS = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
    ast.Pass,
)


def parametrised(test):
    return pytest.mark.parametrize("path", SOURCES, ids=name_of)(test)


def at(node: ast.AST, what: str) -> str:
    return f"line {node.lineno}: {what}"


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """All nodes that are evaluated when a module or class body runs."""
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield from run_at_import(statement.body)
            parts = [*statement.decorator_list, *statement.bases, *statement.keywords]
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = statement.args
            annotations = [a.annotation for a in [*arguments.args, *arguments.kwonlyargs] if a.annotation]
            defaults = [default for default in [*arguments.defaults, *arguments.kw_defaults] if default]
            parts = [*statement.decorator_list, *defaults, *annotations]
        else:
            yield statement
            parts = list(ast.iter_child_nodes(statement))
        for part in parts:
            yield from outside_lambdas(part)


def outside_lambdas(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is below it, without the bodies of lambdas."""
    yield node
    if not isinstance(node, ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from outside_lambdas(child)


def is_type_checking(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    )


def is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"


def adds_verbs(statement: ast.stmt) -> bool:
    """Whether this is `app.add_typer(...)`, typer's way to declare a group of verbs."""
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("app.add_typer(")


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def effects(tree: ast.Module) -> list[str]:
    """What a module does when it is imported, beyond making constants and definitions."""
    harmless = (is_docstring, is_type_checking, is_main, adds_verbs)
    body = [s for s in tree.body if not any(is_harmless(s) for is_harmless in harmless)]
    found = [at(s, f"a {type(s).__name__} statement") for s in body if not isinstance(s, STATEMENTS)]
    for node in run_at_import([s for s in body if isinstance(s, STATEMENTS)]):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            # A capital letter is a class: a named tuple, a section's default, a private helper of this kind.
            if called not in SAFE_CALLS and not called.lstrip("_")[:1].isupper():
                found.append(at(node, f"calls {ast.unparse(node.func)}"))
        elif isinstance(node, ast.Assign):
            changed = [target for target in node.targets if not isinstance(target, ast.Name | ast.Tuple)]
            found += [at(node, f"changes {ast.unparse(target)}") for target in changed]
    return found


def stops_or_prints(tree: ast.Module) -> list[str]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    banned = ("print", "exit", "quit", "sys.exit", "os._exit", "breakpoint")
    return [at(call, ast.unparse(call.func)) for call in calls if ast.unparse(call.func) in banned]


def broad_excepts(tree: ast.Module) -> list[str]:
    """Handlers that catch everything and do not raise in their turn."""
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    return [
        at(handler, "a broad except")
        for handler in handlers
        if (handler.type is None or re.search(r"\b(Base)?Exception\b", ast.unparse(handler.type)))
        and not isinstance(handler.body[-1], ast.Raise)
    ]


def open_constructors(tree: ast.Module) -> list[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [
        at(f, f"{f.name}(**{f.args.kwarg.arg})")
        for f in functions
        if f.name in ("__init__", "__new__") and f.args.kwarg
    ]


def config_gets(tree: ast.Module) -> list[str]:
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    return [
        at(call, ast.unparse(call))
        for call in calls
        if call.func.attr == "get" and re.search(r"\b(config|cfg|conf|args)$", ast.unparse(call.func.value))
    ]


def public_definitions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ) and not node.name.startswith("_"):
            if not any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list):
                yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def unexplained(tree: ast.Module) -> list[str]:
    """Public names without a docstring or with an argument or result that has no type."""
    found = [] if ast.get_docstring(tree) or not tree.body else ["line 1: the module has no docstring"]
    for node in public_definitions(tree.body):
        if not ast.get_docstring(node):
            found.append(at(node, f"{node.name} has no docstring"))
        if isinstance(node, ast.ClassDef):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [a for a in (node.args.vararg, node.args.kwarg) if a]
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        found += [at(node, f"{node.name}({name}) has no type") for name in bare]
        if node.returns is None:
            found.append(at(node, f"{node.name} has no result type"))
    return found


CHECKS = [effects, stops_or_prints, broad_excepts, open_constructors, config_gets, unexplained]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@parametrised
def test_source(path, check):
    found = check(tree_of(path))
    if name_of(path) == "jepa.cli":  # exit codes are its task
        found = [what for what in found if not what.endswith(": sys.exit")]
    assert not found, f"{name_of(path)}: " + "; ".join(found)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (effects, "torch.manual_seed(0)"),
        (effects, "x = load('file')"),
        (effects, "class A:\n    x = load()"),
        (effects, "def f(x=load()): ..."),
        (effects, "@register('a')\ndef f(): ..."),
        (effects, "TABLE = {}\nTABLE['a'] = 1"),
        (effects, "TABLE = []\nTABLE += [1]"),
        (effects, "for x in range(3):\n    y = x"),
        (effects, "if True:\n    y = 1"),
        (effects, "try:\n    import a\nexcept ImportError:\n    a = None"),
        (stops_or_prints, "def f():\n    print(1)"),
        (stops_or_prints, "def f():\n    sys.exit(1)"),
        (broad_excepts, "try:\n    f()\nexcept:\n    g()"),
        (broad_excepts, "try:\n    f()\nexcept (OSError, Exception) as e:\n    g()"),
        (open_constructors, "class A:\n    def __init__(self, **kwargs): ..."),
        (config_gets, "def f(config):\n    return config.get('a')"),
        (config_gets, "def f(self):\n    return self.cfg.get('a', 3)"),
        (unexplained, "def f() -> None: ..."),
        (unexplained, "'''d.'''\ndef f() -> None: ..."),
        (unexplained, "'''d.'''\ndef f(x) -> None:\n    '''d.'''"),
        (unexplained, "'''d.'''\ndef f(*, x: int):\n    '''d.'''"),
        (unexplained, "'''d.'''\nclass A:\n    '''d.'''\n    def f(self) -> None: ..."),
    ],
)
def test_each_check_finds_what_it_is_for(check, text):
    assert check(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "T = TypeVar('T')\nPATTERN = re.compile('a')\nLOG = logging.getLogger(__name__)",
        "TABLE = {'a': lambda c: build(c), 'b': Size(1, 2)}",
        "if TYPE_CHECKING:\n    from a import b",
        "class A(Section):\n    x: int = Field(default=1)\n    @torch.no_grad()\n    def f(self): load()",
    ],
)
def test_constants_and_definitions_are_no_effects(text):
    assert not effects(ast.parse(text))
