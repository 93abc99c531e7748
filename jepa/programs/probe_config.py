"""From the options of `jepa probe` to its config."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jepa.config.load import assemble, read_tree
from jepa.config.probe import ProbeConfig
from jepa.errors import ConfigError
from jepa.programs.naming import model_of, source_named


def probe_config(
    config: str | Path | None,
    *,
    model: str | Path | None = None,
    train: str | Path | None = None,
    test: str | Path | None = None,
    heads: Sequence[str] | None = None,
    run_dir: Path | str | None = None,
    overrides: Sequence[str] = (),
) -> ProbeConfig:
    """Return the config in a YAML file with what the options change, or the one that the options alone describe.

    Raises ConfigError, and DataError for a source that is not there.
    """
    if config is None and (train is None or test is None):
        raise ConfigError(
            "jepa probe: give a CONFIG, or --train and --test (and --model, where they are no features)"
        )
    tree: dict[str, Any] = {} if config is None else dict(read_tree(config))
    for side, path in (("train", train), ("test", test)):
        if path is not None:
            tree[side] = source_named(str(path)).model_dump(mode="json", exclude_defaults=True)
    if config is None:
        tree["name"] = Path(str(train)).stem
        tree["run_dir"] = f"runs/probe-{tree['name']}"
        if model is None:
            model = model_of(str(train))
    if model is not None:
        tree["model"] = str(model)
    if heads:
        tree["heads"] = [{"kind": head} for head in heads]
    if run_dir is not None:
        tree["run_dir"] = str(run_dir)
    return assemble(tree, overrides, ProbeConfig)
