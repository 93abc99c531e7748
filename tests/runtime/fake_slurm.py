"""A SLURM of one machine, in the words that submitit and jepa use: sbatch, srun, scontrol, sacct, squeue, scancel.

It runs what is submitted for real, with the variables that SLURM sets; a requeued job is run again. With FAKE_FULL
in the environment it has no room, and jobs wait.
"""

import json
import os
import sys
from pathlib import Path

NAMES = ("sbatch", "srun", "scontrol", "sacct", "squeue", "scancel")
PROGRAM = """
import json, os, re, signal, subprocess, sys, time
from pathlib import Path

ROOT = Path(os.environ["FAKE_SLURM"])
name, arguments = Path(sys.argv[0]).name, sys.argv[1:]


def path(job):
    return ROOT / f"job-{job}.json"


def read(job):
    return json.loads(path(job).read_text())


def change(job, **values):
    part = ROOT / f"part-{os.getpid()}"
    part.write_text(json.dumps({**(read(job) if path(job).exists() else {}), **values}))
    part.replace(path(job))


def sbatch(script):
    text = Path(script).read_text()
    flags = dict(re.findall(r"^#SBATCH --([\\w-]+)=(.*)$", text, re.M))
    if flags["partition"] == "closed":
        sys.exit("sbatch: error: invalid partition specified: closed")
    number = 4242 + len(list(ROOT.glob("script-*")))
    (ROOT / f"script-{number}").write_text(text)
    array = re.match(r"0-(\\d+)", flags.get("array", ""))
    jobs = [f"{number}_{k}" for k in range(int(array[1]) + 1)] if array else [str(number)]
    for job in jobs:
        change(job, state="PENDING", flags=flags, tasks=[])
        files = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [sys.executable, sys.argv[0], "--run", job, str(ROOT / f"script-{number}")]
        if "FAKE_FULL" not in os.environ:
            subprocess.Popen(command, start_new_session=True, **files)
    print(f"Submitted batch job {number}")


def run(job, script):
    flags, (first, _, part) = read(job)["flags"], job.partition("_")
    nodes, each = int(flags["nodes"]), int(flags["ntasks-per-node"])
    while True:
        change(job, state="RUNNING", tasks=[], again=False)
        own = {"SLURM_JOB_ID": first, "SLURM_JOB_NUM_NODES": nodes, "SLURM_NTASKS": nodes * each, "FAKE_JOB": job}
        own["SLURM_JOB_NODELIST"] = "node1" if nodes == 1 else f"node[1-{nodes}]"
        if part:
            own |= {"SLURM_ARRAY_JOB_ID": first, "SLURM_ARRAY_TASK_ID": part}
        code = subprocess.call(["bash", script], env=os.environ | {k: str(v) for k, v in own.items()})
        if read(job)["state"] == "CANCELLED":
            return
        if not read(job).get("again"):
            return change(job, state="FAILED" if code else "COMPLETED")


def srun(*words):
    words, log = list(words), None
    while words[0].startswith("--"):
        if words.pop(0) == "--output":
            log = words.pop(0)
    job, tasks = os.environ["FAKE_JOB"], []
    first, _, part = job.partition("_")
    each = int(os.environ["SLURM_NTASKS"]) // int(os.environ["SLURM_JOB_NUM_NODES"])
    for rank in range(int(os.environ["SLURM_NTASKS"])):
        places = {"%j": job, "%A": first, "%a": part, "%t": str(rank)}
        file = re.sub("%[jAat]", lambda found: places[found[0]], log)
        own = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank % each, "SLURM_NODEID": rank // each}
        environment = os.environ | {k: str(v) for k, v in own.items()}
        with open(file, "a") as opened:
            tasks.append(subprocess.Popen(words, env=environment, stdout=opened, stderr=opened))
    change(job, tasks=[task.pid for task in tasks])
    sys.exit(max(abs(task.wait()) for task in tasks))


def scontrol(verb, job):
    assert verb == "requeue"
    change(job, again=True, state="PENDING")


def everything():
    return {file.stem.removeprefix("job-"): json.loads(file.read_text()) for file in sorted(ROOT.glob("job-*.json"))}


def sacct(*words):
    for job, found in everything().items():
        print(f"{job}|{found['state'] + (' by 1000' if found['state'] == 'CANCELLED' else '')}")


def squeue(*words):
    for job, found in everything().items():
        if found["state"] in ("PENDING", "RUNNING"):
            print(f"{job}|{found['state']}")


def scancel(job):
    change(job, state="CANCELLED")
    for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
        for task in read(job)["tasks"]:
            try:
                os.kill(task, number)
            except ProcessLookupError:
                pass
        time.sleep(0.2)


run(*arguments[1:]) if arguments[:1] == ["--run"] else globals()[name](*arguments)
"""


class FakeSlurm:
    """The commands, in a folder for PATH, and what they know."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root / "state", root / "bin"
        self.root.mkdir(parents=True)
        self.bin.mkdir()
        for name in NAMES:
            (self.bin / name).write_text(f"#!{sys.executable}\n{PROGRAM}")
            (self.bin / name).chmod(0o755)

    def variables(self) -> dict[str, str]:
        """The environment that knows them."""
        return {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(self.root)}

    def without(self, *names: str) -> None:
        """Take commands away."""
        for name in names:
            (self.bin / name).unlink()

    def job(self, number: str) -> dict:
        """What is known of a job: its state, the flags of its script, the processes of its tasks."""
        return json.loads((self.root / f"job-{number}.json").read_text())

    def script(self, number: str) -> str:
        """The script that was submitted."""
        return (self.root / f"script-{number}").read_text()
