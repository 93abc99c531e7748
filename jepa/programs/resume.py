"""Continue a run from its newest whole checkpoint."""

from collections.abc import Collection, Iterator
from typing import Any

from jepa.errors import CheckpointError
from jepa.programs.state import State
from jepa.runtime.checkpoint import load_checkpoint, newest_whole, remove_unfinished
from jepa.runtime.run_dir import RunDir
from jepa.runtime.sharded import read_facts


def resume(state: State[Any, Any], run: RunDir, *, free: Collection[str]) -> tuple[str, ...]:
    """Load the newest whole checkpoint of ``run`` into ``state``, if there is one, and return sentences about it.

    A damaged one is passed over, which a sentence says; one that was not finished is deleted; there is none for a
    new run. Raises CheckpointError where all are damaged, and when a setting changed that is not ``free`` to: the
    result would belong to neither.
    """
    found = None
    if state.ranks.main:
        remove_unfinished(run.root)
        found = newest_whole(run.root)
    path, damaged = state.ranks.gather(found)[0]  # one process looks, and all take what it found
    if path is None and damaged:
        raise CheckpointError(
            f"no checkpoint of {run.root} is whole ({'; '.join(damaged)}); bring one back, or remove them to start anew"
        )
    if path is None:
        return ()
    in_parts = path.is_dir() and state.sharded
    loaded = read_facts(path) if in_parts else load_checkpoint(path, program=state.config.program)
    changed = differences(loaded["config"], state.config.model_dump(mode="json"), free=free)
    if changed:
        raise CheckpointError(
            f"{run.root} was trained with another configuration ({'; '.join(changed)}); "
            "use the run's own config.yaml, or another run_dir"
        )
    if in_parts:
        state.load_parts(path)
    else:
        state.load_state_dict(loaded)
    skipped = [f"{each}; an earlier checkpoint is used instead" for each in damaged]
    return (*skipped, f"continuing {run.root} at step {state.step}")


# What may change between two parts of any run: it moves no weight, but for rounding.
FREE_TO_CHANGE = (
    *("run_dir", "device", "threads", "compile", "checkpoint", "log", "distributed"),
    *("data.workers", "data.cache_mb", "data.decode_timeout_s", "data.max_bad_fraction"),
    *("data.retry_s", "data.worker_timeout_s", "data.worker_memory_mb", "data.confine"),
)


def differences(old: dict[str, Any], new: dict[str, Any], *, free: Collection[str]) -> list[str]:
    """Return "key: old, now new" for every setting that differs and would change the result."""

    def leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(tree, dict):
            for key, value in tree.items():
                yield from leaves(value, f"{path}.{key}" if path else key)
        else:
            yield path, tree

    before, after = dict(leaves(old, "")), dict(leaves(new, ""))
    return [
        f"{key}: {before.get(key)!r}, now {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key) and not {*free} & {key, key.split(".")[0]}
    ]
