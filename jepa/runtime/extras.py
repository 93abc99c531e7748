"""Packages that not every user needs."""

import importlib
from types import ModuleType

from jepa.errors import RunError


def need(module: str, *, extra: str) -> ModuleType:
    """Import ``module``. Raises RunError that says what to install where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RunError(
            f"{module} cannot be imported ({error}); install it with: pip install 'jepa[{extra}]'"
        ) from error
