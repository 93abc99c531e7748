"""Submission of jobs to SLURM, or to this machine for trying it out, through submitit."""

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import clean_env

from jepa.errors import ConfigError, RunError
from jepa.runtime.interrupts import JOB_VARIABLE
from jepa.runtime.jobs import JobCommand

LOCAL = "local"
REQUEUES = 1000  # time limits a job may run into; preemptions are not counted
MARGIN_S = 30  # of the warning before a time limit: what requeuing itself takes
# What submitit's executor takes under names of its own, beside sbatch's.
LISTS = ("setup", "teardown", "srun_args")
RESERVED = ("array", "error", "open_mode", "output", "signal", "stderr_to_stdout", "use_srun", "job_name")


@dataclass(frozen=True)
class Resources:
    """What a job asks for."""

    partition: str
    """A partition of SLURM, or local for a job on this machine."""
    nodes: int = 1
    gpus_per_node: int | None = None
    """One process for each; None asks for no GPU, and starts one process per node."""
    cpus_per_task: int | None = None
    minutes: int = 12 * 60
    """Time limit; the job requeues itself when it comes to it."""
    memory: str | None = None
    """Of a node, as SLURM writes it: 64G."""
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    job_name: str = "jepa"
    warning_s: int = 120
    """How long before the time limit the job is told."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further parameters of submitit's SlurmExecutor, or of sbatch."""

    @property
    def cluster(self) -> str:
        """Where the job runs: slurm or local."""
        return LOCAL if self.partition == LOCAL else "slurm"


def read_minutes(text: str) -> int:
    """Read a time limit: minutes, or H:MM:SS, or D-HH:MM:SS. Raises ConfigError for anything else."""
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in (*parts, days or "0")) or len(parts) not in (1, 3):
        raise ConfigError(f"--time: {text!r} is no length of time; give minutes, H:MM:SS or D-HH:MM:SS")
    if len(parts) == 1 and not dash:
        minutes = int(clock)
    elif len(parts) == 3:
        minutes = int(days or 0) * 1440 + int(parts[0]) * 60 + int(parts[1]) + (int(parts[2]) > 0)
    else:
        raise ConfigError(f"--time: {text!r} is no length of time; give minutes, H:MM:SS or D-HH:MM:SS")
    if minutes < 1:
        raise ConfigError(f"--time: {text!r} is no time at all; give a minute or more")
    return minutes


def read_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` texts; whole numbers are numbers, and ``setup``, which may be repeated, is a list.

    Raises ConfigError for a text without a key, and for keys that the submission sets itself.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name = key.strip().removeprefix("--").replace("-", "_")
        if not equals or not name:
            raise ConfigError(f"--slurm-arg {text!r}: is not KEY=VALUE; write it like exclusive=user")
        if name in RESERVED:
            raise ConfigError(f"--slurm-arg {text!r}: {key} is set by jepa itself; leave it out")
        if name in LISTS:
            found.setdefault(name, []).append(value)
        else:
            found[name] = int(value) if value.isdecimal() else value
    return found


def submit(resources: Resources, folder: Path, commands: Sequence[JobCommand]) -> list[tuple[str, Path]]:
    """Submit a job, or a job array of several; return the id and the log file of each, in order.

    Raises ConfigError for what the cluster cannot take, and RunError when SLURM is not there or refuses.
    """
    warning = int(resources.more.get("signal_delay_s", resources.warning_s))
    commands = [replace(one, grace_s=max(warning / 2, warning - MARGIN_S)) for one in commands]
    if resources.cluster == LOCAL:
        parameters = local_parameters(resources)
        # A session of its own: Ctrl-C in this terminal is not for the job, nor does it hold this one's output open.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_detach) as aside:
            return aside.submit(_submit_local, folder, parameters, commands).result()
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise RunError(
            "SLURM is not on this machine (there is no sbatch or no srun); submit from a login node of the cluster, or "
            "try it out here with --slurm local"
        )
    executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
    executor.update_parameters(**slurm_parameters(resources))
    try:
        return _submit(executor, commands)
    except submitit.core.utils.FailedJobError as error:
        raise RunError(f"sbatch refused the job: {str(error).strip()}") from error


def slurm_parameters(resources: Resources) -> dict[str, Any]:
    """Return the parameters of submitit's SlurmExecutor."""
    known = submitit.SlurmExecutor._valid_parameters()
    own = {key: value for key, value in resources.more.items() if key in known}
    # One that is lost ends all; and since SLURM 22.05 srun does not take the cores over from sbatch.
    cores = [] if resources.cpus_per_task is None else [f"--cpus-per-task={resources.cpus_per_task}"]
    srun = ["--kill-on-bad-exit=1", *cores, *own.pop("srun_args", [])]
    foreign = {key.replace("_", "-"): value for key, value in resources.more.items() if key not in known}
    return {
        "partition": resources.partition,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.gpus_per_node or 1,
        "gpus_per_node": resources.gpus_per_node,
        "cpus_per_task": resources.cpus_per_task,
        "time": resources.minutes,
        "mem": resources.memory,
        "account": resources.account,
        "qos": resources.qos,
        "constraint": resources.constraint,
        "job_name": resources.job_name,
        "signal_delay_s": resources.warning_s,
        "stderr_to_stdout": True,  # one log, in the order of time
        "srun_args": srun,
        "wckey": None,
        "additional_parameters": {"requeue": True, **foreign},  # also where the cluster's default is not to
    } | own


def local_parameters(resources: Resources) -> dict[str, Any]:
    """Return the parameters of submitit's LocalExecutor. Raises ConfigError for what one machine does not have."""
    if resources.nodes > 1:
        raise ConfigError(f"--nodes: {resources.nodes} nodes, but --slurm local has one; leave --nodes out")
    more = dict(resources.more)
    tasks = more.pop("ntasks_per_node", resources.gpus_per_node or 1)
    warning = more.pop("signal_delay_s", resources.warning_s)
    given = {
        **{f"--slurm-arg {key}": value for key, value in more.items()},
        "--account": resources.account,
        "--qos": resources.qos,
        "--constraint": resources.constraint,
        "--mem": resources.memory,
        "--cpus-per-task": resources.cpus_per_task,
    }
    if unused := [name for name, value in given.items() if value is not None]:
        raise ConfigError(f"{', '.join(unused)}: have no effect with --slurm local; leave them out")
    return {
        "timeout_min": resources.minutes,
        "tasks_per_node": tasks,
        "gpus_per_node": resources.gpus_per_node or 0,
        "signal_delay_s": warning,
        "stderr_to_stdout": True,
    }


def _submit_local(
    folder: Path, parameters: Mapping[str, Any], commands: Sequence[JobCommand]
) -> list[tuple[str, Path]]:
    """Start jobs on this machine."""
    executor = submitit.LocalExecutor(folder, max_num_timeout=REQUEUES)
    executor.update_parameters(**parameters)
    return _submit(executor, commands)


def _submit(executor: "submitit.Executor", commands: Sequence[JobCommand]) -> list[tuple[str, Path]]:
    """Submit through an executor; the variables of a job that this process runs in are not handed on."""
    with clean_env([JOB_VARIABLE]):
        jobs = executor.submit_array(commands)
    return [(job.job_id, job.paths.stdout) for job in jobs]


def _detach() -> None:
    """Leave the terminal, and this process's files."""
    os.setsid()
    with open(os.devnull, "r+b") as nothing:
        for number in (0, 1, 2):
            os.dup2(nothing.fileno(), number)
