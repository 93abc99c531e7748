"""The package's own source, as the policy tests read it."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "jepa").rglob("*.py"))


def name_of(path: Path) -> str:
    """The module name of a source file: jepa/data/video.py is jepa.data.video."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in SOURCES}


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_modules(path: Path) -> set[str]:
    """The modules of this package that a file imports anywhere, also inside functions."""
    own = name_of(path)
    package = own if path.name == "__init__.py" else own.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name != "jepa" or _uses_the_front(path)}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {_member(base, alias.name) for alias in node.names} - {None}
    return {name for name in found if name.split(".")[0] == "jepa"}


def _uses_the_front(path: Path) -> bool:
    """Whether a file uses more of `jepa` itself than the version, which is a constant."""
    used = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)]
    return {node.attr for node in used if ast.unparse(node.value) == "jepa"} != {"__version__"}


def _member(base: str, name: str) -> str | None:
    """The module that `from base import name` needs; none for the version, which is a constant."""
    if (base, name) == ("jepa", "__version__"):
        return None
    return f"{base}.{name}" if f"{base}.{name}" in MODULES else base
