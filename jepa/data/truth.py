"""What a probe is to find out about every entry of a source, as one tensor."""

from typing import Literal

import torch
from torch import Tensor

from jepa.data.sources import Source
from jepa.errors import DataError

Task = Literal["classes", "labels", "values"]
"""classes: one label of several. labels: any number of them at once. values: numbers."""


def truth(source: Source, task: Task) -> Tensor:
    """Return the answers in the order of the entries.

    classes: (n,) long, -1 for an entry without a label. labels: (n, C) float32 of 0 and 1. values: (n, K) float32.
    Raises DataError when ``source`` does not hold what ``task`` asks for.
    """
    entries = source.entries
    if task == "classes":
        if any(entry.labels for entry in entries):
            raise DataError(
                f"{source.name}: rows have several labels; set task to labels, or drop the separator"
            )
        return torch.tensor([-1 if entry.label is None else entry.label for entry in entries])
    if task == "labels":
        if not any(entry.labels for entry in entries):
            raise DataError(
                f"{source.name}: no row has several labels; name their separator (source.separator: ';')"
            )
        table = torch.zeros(len(entries), len(source.classes))
        for row, entry in enumerate(entries):
            table[row, list(entry.labels)] = 1
        return table
    if not source.targets:
        raise DataError(
            f"{source.name}: there are no numbers to predict; name the columns of its list (source.targets)"
        )
    return torch.tensor([entry.targets for entry in entries])
