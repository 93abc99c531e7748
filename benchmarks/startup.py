"""Seconds until a command of the CLI has answered in a fresh process, beside the interpreter alone, which is the floor.

Run it as ``python -m benchmarks.startup``. ``import torch`` is timed as well: what a command pays that computes.
"""

import subprocess
import sys

from benchmarks.pairs import interleave, options, print_header, print_table, ratio

COMMANDS = (
    ("--version",),
    ("--help",),
    ("pretrain", "--help"),
    ("plan", "--help"),
    ("show", "synthetic-ema"),
)
PROGRAM = "import sys; from jepa.cli import main; sys.argv[0] = 'jepa'; main()"
PYTHON, TORCH = "python -c pass", "python -c 'import torch'"


def run(code: str, *arguments: str) -> None:
    """Run code in a fresh interpreter. Raises CalledProcessError when it fails."""
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def main() -> None:
    """Time every command, turn by turn."""
    chosen = options(__doc__).parse_args()
    print_header(chosen, "typer")
    runs = {PYTHON: lambda: run("pass"), TORCH: lambda: run("import torch")}
    for arguments in COMMANDS:
        runs[f"jepa {' '.join(arguments)}"] = lambda arguments=arguments: run(PROGRAM, *arguments)
    times = interleave(runs, rounds=chosen.rounds)
    print_table(
        ("command", "seconds", "smallest-largest", "times the interpreter"),
        [
            (
                f"`{name}`",
                f"{found.seconds:.2f}",
                f"{min(found.wall):.2f}-{max(found.wall):.2f}",
                ratio(found, times[PYTHON]),
            )
            for name, found in times.items()
        ],
    )


if __name__ == "__main__":
    main()
