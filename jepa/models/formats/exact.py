"""Names of weights, theirs and ours, and a load that accounts for every one of them."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from jepa.errors import CheckpointError

FEW = 8  # names that a message lists


class Names:
    """A table of beginnings of names, theirs and ours, that is read both ways."""

    def __init__(self, table: Sequence[tuple[str, str]]) -> None:
        """Keep pairs of (theirs, ours); of several that fit, the first one counts."""
        self._table = tuple(table)

    def ours(self, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """Rename their weights to ours. Raises CheckpointError, listing them, for names without a rule."""
        return _renamed(state, self._table, source)

    def theirs(self, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """Rename our weights to theirs. Raises CheckpointError, listing them, for names without a rule."""
        return _renamed(state, [(ours, theirs) for theirs, ours in self._table], source)


def below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load ``state`` into ``module``, every weight of both.

    Raises CheckpointError that lists what is missing, what is left over, and what has another shape.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {tuple(state[name].shape)} for {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    if missing or extra or shapes:
        parts = {"missing": missing, "left over": extra, "of another shape": shapes}
        found = "; ".join(f"{len(names)} {what}: {listed(names)}" for what, names in parts.items() if names)
        raise CheckpointError(f"{source} does not hold the weights of {type(module).__name__}: {found}")
    module.load_state_dict(state)


def listed(names: Sequence[str]) -> str:
    """Return the first names side by side, and how many more there are."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def _renamed(state: Mapping[str, Tensor], table: Sequence[tuple[str, str]], source: str) -> dict[str, Tensor]:
    """Replace the beginnings of names."""
    renamed, unknown = {}, []
    for name, value in state.items():
        rule = next(((old, new) for old, new in table if name.startswith(old)), None)
        if rule is None:
            unknown.append(name)
        else:
            renamed[rule[1] + name.removeprefix(rule[0])] = value
    if unknown:
        raise CheckpointError(f"{source} holds {len(unknown)} weights of unknown names: {listed(unknown)}")
    return renamed
