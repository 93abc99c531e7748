"""Weights & Biases, for those who ask for it."""

import uuid
from pathlib import Path
from typing import Any

from jepa.config import yaml_text
from jepa.runtime.extras import need
from jepa.runtime.run_dir import RunDir, write_text

ID_FILE = "wandb-id.txt"


def open_wandb(project: str, root: Path) -> Any:
    """Return the run of Weights & Biases that belongs to the run directory ``root``; the same one after a resume.

    Where the numbers go is for wandb's own settings to say: WANDB_MODE=offline keeps them below ``root``. Raises
    RunError where wandb is not installed.
    """
    wandb = need("wandb", extra="wandb")
    known = root / ID_FILE
    if not known.exists():
        write_text(known, uuid.uuid4().hex + "\n")
    config = RunDir(root).config
    settings = yaml_text.read(config.read_text(encoding="utf-8"), str(config)) if config.exists() else None
    return wandb.init(
        project=project,
        id=known.read_text(encoding="utf-8").strip(),
        name=root.resolve().name,
        dir=str(root),
        config=settings,
        resume="allow",
    )
