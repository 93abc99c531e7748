"""From tokens to one vector per clip."""

from torch import Tensor

from jepa.types import Grid

POOLINGS = ("mean", "time")


def pool_tokens(tokens: Tensor, grid: Grid, how: str) -> Tensor:
    """Pool (B, N, D) tokens of ``grid``.

    mean: over all tokens, (B, D). time: over space, the time steps side by side, (B, t * D).
    Raises ValueError for another name.
    """
    if how == "mean":
        return tokens.mean(1)
    if how == "time":
        return tokens.reshape(len(tokens), grid.time, -1, tokens.shape[-1]).mean(2).flatten(1)
    raise ValueError(f"pool must be one of {', '.join(POOLINGS)}, got {how!r}")
