"""`jepa check`: is this environment, and this config, fit to train?"""

from collections.abc import Sequence

from jepa.config.load import load_config
from jepa.programs.finding import Finding
from jepa.runtime.environment import REQUIRED, torchvision_problem, versions


def check(config: str | None, overrides: Sequence[str] = ()) -> list[Finding]:
    """Look at the environment and, when given, at a config: its sources, one batch and one step.

    Raises ConfigError for a config that is wrong; everything else becomes a finding. What needs a package that
    is missing is left out.
    """
    parsed = None if config is None else load_config(config, overrides)
    findings = packages()
    if any(finding.failed for finding in findings):
        return findings
    from jepa.programs import dry_run  # imports torch and PyAV, which are now known to be there

    findings += dry_run.machine()
    return findings if parsed is None else [*findings, *dry_run.training(parsed)]


def packages() -> list[Finding]:
    """Look for the packages that are needed, and at the torch-torchvision pair."""
    found = versions()
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        names = " ".join(missing)
        return [Finding("packages", True, f"missing: {names}; run: pip install --upgrade jepa {names}")]
    listed = ", ".join(f"{name} {version}" for name, version in found.items())
    problem = torchvision_problem()
    return [
        Finding("packages", False, listed),
        Finding("torch and torchvision", problem is not None, problem or "fit together"),
    ]


def render(findings: Sequence[Finding]) -> str:
    """Return one line per finding."""
    return "\n".join(f"{'FAILED' if f.failed else 'ok':6} {f.name}: {f.text}" for f in findings)
