"""Numbers out of a parquet file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa.data.video import UnreadableError
from jepa.runtime.extras import need


def read_columns(path: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read columns of numbers, or of lists of one length: each (rows, numbers per row).

    Raises UnreadableError, which names a column that is not there or whose lists differ in length.
    """
    pyarrow = need("pyarrow", extra="lerobot")
    parquet = need("pyarrow.parquet", extra="lerobot")
    try:
        with parquet.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            if lacking := [name for name in names if name not in present]:
                raise UnreadableError(path, f"has no column {lacking[0]!r}, but {sorted(present)}")
            table = file.read(columns=list(names), use_threads=False)
        return {name: _matrix(path, name, table.column(name).combine_chunks()) for name in names}
    except (OSError, pyarrow.ArrowException) as error:
        raise UnreadableError(path, str(error)) from error


def _matrix(path: str, name: str, column: Any) -> NDArray[Any]:
    """Turn a column into an array, (rows, numbers per row)."""
    rows = len(column)
    if not rows:
        raise UnreadableError(path, "holds no row")
    if hasattr(column, "value_lengths"):
        lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) != 1:
            raise UnreadableError(path, f"the lists of column {name!r} differ in length")
        column = column.flatten()
    numbers = np.asarray(column.to_numpy(zero_copy_only=False))
    if numbers.dtype.kind not in "biuf":
        raise UnreadableError(path, f"column {name!r} holds {column.type}, not numbers or lists of numbers")
    return numbers.reshape(rows, -1)
