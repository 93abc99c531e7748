"""Programs of torch.export, which run where jepa is not installed."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor

from jepa.models.formats.program import Program
from jepa.models.functions import TRACED, Function, Run

NOTES = "jepa.json"


class TorchExport(Program):
    """``PATH.pt2``, or a folder of such."""

    name = "torch-export"
    title = "a program of torch.export"
    suffix = ".pt2"
    suffixes = (".pt2",)

    def is_one(self, path: Path) -> bool:
        """Whether it is a zip file with the names that torch.export writes, now or before torch 2.8."""
        if not is_zipfile(path):
            return False
        with ZipFile(path) as archive:
            names = {name.split("/", 1)[-1] for name in archive.namelist()} | set(archive.namelist())
        return "models/model.json" in names or "serialized_exported_program.json" in names

    def how_to_run(self, path: Path) -> str:
        """Say with what the program at ``path`` is run, and what it maps to what, where it is of ours."""
        with ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(f"extra/{NOTES}")]
            notes = json.loads(archive.read(names[0])) if names else {}
        maps = f" ({notes['input']} -> {notes['output']})" if notes else ""
        return f"run it, if you trust it, with torch.export.load({str(path)!r}).module(){maps}"

    def write(self, function: Function, path: Path) -> Run:
        """Write one program, with its notes beside the weights, and read it again."""
        inputs, axes = (tuple(each.values()) for each in (function.inputs(TRACED), function.free_axes()))
        traced = torch.export.export(function.module, inputs, dynamic_shapes=axes, strict=False)
        torch.export.save(traced, path, extra_files={NOTES: json.dumps(function.notes())})
        with warnings.catch_warnings():
            # torch 2.11 maps the file it reads, and warns that nobody should write into it.
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            program = torch.export.load(path).module()

        def run(inputs: Mapping[str, Tensor]) -> Tensor:
            return program(*inputs.values())

        return run
