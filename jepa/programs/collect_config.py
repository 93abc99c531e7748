"""From the options of `jepa data collect` to its config."""

import json
from collections.abc import Sequence
from pathlib import Path

from jepa.config.envs import CollectConfig
from jepa.config.load import assemble, read_tree


def collect_config(
    env: str,
    *,
    out: str | Path | None = None,
    episodes: int | None = None,
    policy: str | None = None,
    overrides: Sequence[str] = (),
) -> CollectConfig:
    """Return the config of a YAML file, or of a kind of environment, with what the options change.

    Raises ConfigError with every mistake.
    """
    values = read_tree(env) if env.endswith((".yaml", ".yml")) else {"env": {"kind": env}}
    given = {"path": None if out is None else str(out), "episodes": episodes, "policy": policy}
    changes = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    return assemble(values, [*changes, *overrides], CollectConfig)
