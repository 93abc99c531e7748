"""Arrays inside an npz file, described without being read, and mapped where they are not compressed."""

import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from jepa.data.video import UnreadableError

LOCAL_HEADER = 30  # bytes before a member's name; the two lengths that follow lie in its last four


@dataclass(frozen=True, slots=True)
class Member:
    """One array of an npz file."""

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int | None
    """Byte of the file at which its numbers start; None where they are compressed."""

    def read(self) -> NDArray[np.generic]:
        """Map the numbers, or read them where they are compressed. Raises UnreadableError."""
        try:
            if self.offset is not None:
                return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
            with np.load(self.path, allow_pickle=False) as arrays:
                return np.asarray(arrays[self.name])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UnreadableError(self.path, str(error)) from error


def members(path: str) -> dict[str, Member]:
    """Describe the arrays of the npz file at ``path``, by name. Raises UnreadableError for what is not one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _member(path, archive, info)
                for info in archive.infolist()
            }
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UnreadableError(path, f"is no npz file: {error}") from error


def _member(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    """Read the header of one array."""
    with archive.open(info) as file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read_header(file)
        header = file.tell()
    if dtype.hasobject:
        raise ValueError(f"array {info.filename} holds Python objects, which are not read")
    is_plain = info.compress_type == zipfile.ZIP_STORED and not is_fortran and 0 not in shape
    offset = _start(path, info) + header if is_plain else None
    return Member(path, info.filename.removesuffix(".npy"), shape, dtype, offset)


def _start(path: str, info: zipfile.ZipInfo) -> int:
    """Return where a member's bytes start: behind its own header, whose length the archive's index does not know."""
    with open(path, "rb") as file:
        file.seek(info.header_offset + LOCAL_HEADER - 4)
        lengths = np.frombuffer(file.read(4), "<u2")
    return info.header_offset + LOCAL_HEADER + int(lengths.sum())
