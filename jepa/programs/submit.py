"""Which command a job runs: the verb, on a copy of its resolved config that later edits do not reach."""

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from jepa.config.benchmark import Benchmark
from jepa.config.load import assemble, dump, load_config, read_tree
from jepa.config.plan import PlanConfig
from jepa.config.schema import PretrainConfig
from jepa.config.world_model import WorldModelConfig
from jepa.runtime.job_list import JobRecord, remember
from jepa.runtime.jobs import JobCommand
from jepa.runtime.run_dir import write_text
from jepa.runtime.slurm import Resources, submit

FOLDERS_OF_DATA = ("embed", "data collect", "data pack")
"""Verbs whose folders hold data alone: submitit's files lie beside them."""

Options = Mapping[str, Any]
"""The arguments of a verb of the command line, by the names of its function's parameters."""


@dataclass(frozen=True)
class Work:
    """A verb with everything it needs, resolved now."""

    verb: str
    run_dir: Path
    arguments: tuple[str, ...]
    """Of the verb, but for the config."""
    config: str | None = None
    """The resolved YAML, its first argument."""
    stem: str = "config"
    """Name of the file it is written to."""
    name: str = ""
    """What tells it from the others of a sweep."""

    @property
    def jobs_dir(self) -> Path:
        """Where submitit keeps its files: inside the run directory, but beside a folder of features."""
        return Path(f"{self.run_dir}-jobs") if self.verb in FOLDERS_OF_DATA else self.run_dir / "jobs"

    def freeze(self) -> tuple[str, ...]:
        """Write the config beside the job, under a name made of its contents; return the words of the command."""
        words = self.verb.split()
        if self.config is None:
            return (*words, *self.arguments)
        digest = hashlib.blake2b(self.config.encode(), digest_size=4).hexdigest()
        path = self.jobs_dir / digest / f"{self.stem}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, self.config)
        return (*words, str(path), *self.arguments)


def work_of(verb: str, options: Options) -> Work:
    """Resolve a verb of the command line. Raises ConfigError with every mistake in its config."""
    return WORKS[verb](verb, options)


SCHEMAS: dict[str, type[BaseModel]] = {
    "pretrain": PretrainConfig,
    "world-model": WorldModelConfig,
    "plan": PlanConfig,
}


def _configured(verb: str, options: Options) -> Work:
    """Resolve a verb whose YAML says everything."""
    changes = [
        f"{key}={json.dumps(str(options[key]))}"
        for key in ("run_dir", "model")
        if options.get(key) is not None
    ]
    config = load_config(options["config"], [*(options["overrides"] or ()), *changes], schema=SCHEMAS[verb])
    run_dir = Path(config.model_dump()["run_dir"])
    arguments = option_words(options, but=("config", "overrides", "run_dir", "model"))
    return Work(verb, run_dir, arguments, dump(config), _stem(options["config"]))


def _probe(verb: str, options: Options) -> Work:
    """Resolve `jepa probe`, whose config may come from options alone."""
    from jepa.programs.probe_config import probe_config

    own = {key: options[key] for key in ("model", "train", "test", "run_dir")}
    config = probe_config(
        options["config"],
        model=own["model"],
        train=own["train"],
        test=own["test"],
        heads=options["head"],
        run_dir=own["run_dir"],
        overrides=options["overrides"] or (),
    )
    arguments = option_words(options, but=("config", "overrides", "head", *own))
    return Work(verb, Path(config.run_dir), arguments, dump(config), _stem(options["config"] or "probe"))


def _eval(verb: str, options: Options) -> Work:
    """Resolve `jepa eval`: the declaration is copied, what concerns the machine stays an option."""
    from jepa.programs.benchmark import MACHINE

    given = options["overrides"] or []
    machine = [one for one in given if one.partition("=")[0].strip() in MACHINE]
    declared = assemble(
        read_tree(options["name"], folder="evals"), [one for one in given if one not in machine], Benchmark
    )
    stem = _stem(options["name"])
    run_dir = Path(options["run_dir"] or f"runs/eval-{stem}")
    kept = {**options, "overrides": machine, "run_dir": run_dir}
    return Work(verb, run_dir, option_words(kept, but=("name",)), dump(declared), stem)


def _embed(verb: str, options: Options) -> Work:
    """Resolve `jepa embed`, which has no YAML: its options are its config."""
    arguments = (options["model"], options["source"], *option_words(options, but=("model", "source")))
    return Work(verb, Path(options["out"]), arguments)


def _collect(verb: str, options: Options) -> Work:
    """Resolve `jepa data collect`, whose config may come from options alone."""
    from jepa.programs.collect_config import collect_config

    own = {key: options[key] for key in ("out", "episodes", "policy")}
    config = collect_config(options["env"], **own, overrides=options["overrides"] or ())
    arguments = option_words(options, but=("env", "overrides", *own))
    return Work(verb, Path(config.path), arguments, dump(config), _stem(options["env"]))


def _pack(verb: str, options: Options) -> Work:
    """Resolve `jepa data pack`, which has no YAML: its options are its config."""
    return Work(verb, Path(options["out"]), (*options["sources"], *option_words(options, but=("sources",))))


WORKS: dict[str, Callable[[str, Options], Work]] = {
    "pretrain": _configured,
    "world-model": _configured,
    "plan": _configured,
    "probe": _probe,
    "eval": _eval,
    "embed": _embed,
    "data collect": _collect,
    "data pack": _pack,
}


def option_words(options: Options, *, but: Sequence[str]) -> tuple[str, ...]:
    """Write options as words of a command line; those that are None, False, empty, or in ``but``, are left out."""
    names = {"overrides": "--set", "as_json": "--json"}
    words: list[str] = []
    for key, value in options.items():
        flag = names.get(key, f"--{key.replace('_', '-')}")
        if key in but or value is None or value is False or key == "as_json":
            continue
        if value is True:
            words.append(flag)
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [flag, str(one)]
    return tuple(words)


def submit_works(works: Sequence[Work], resources: Resources, folder: Path) -> list[JobRecord]:
    """Submit a job, or a job array, and put it on the user's list; ``folder`` is for submitit's files.

    Raises ConfigError and RunError as `submit` does.
    """
    remember(())  # a list that cannot be written is said before there is a job to lose
    cwd, folder = str(Path.cwd()), folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    commands = [JobCommand(work.freeze(), cwd) for work in works]
    submitted = submit(resources, folder, commands)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    records = [
        JobRecord(
            id=number,
            cluster=resources.cluster,
            folder=str(folder),
            run_dir=str(work.run_dir.absolute()),
            command=shlex.join(("jepa", *command.words)),
            log=str(log),
            submitted=now,
            name=work.name,
        )
        for (number, log), work, command in zip(submitted, works, commands, strict=True)
    ]
    remember(records)
    return records


def _stem(path: str | Path) -> str:
    """Return the name of a file or of a shipped config."""
    return Path(path).stem
