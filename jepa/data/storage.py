"""Where bytes lie: in local files, behind URLs, inside tar shards; nothing is ever unpacked to disk."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from jepa.data.locations import file_of, is_url, member_of
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.runtime.extras import need

PROTOCOLS = frozenset(
    "abfs abfss adl az ftp gcs gs hdfs hf http https memory oci oss r2 s3 s3a sftp smb ssh webhdfs".split()
)
"""URLs that are followed. fsspec knows more, some of which read other files, or fill in templates that they hold."""

GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
"""What a source that can be reached says of a file that it does not give."""


AWAY = frozenset(
    {errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH}
)
"""What a local path says whose disk or server does not answer."""


class UnreachableError(UnreadableError):
    """Not the file but its source failed: it may come back."""


class Stamp(NamedTuple):
    """What tells that a file is no longer the same."""

    size: int
    mtime_ns: int
    """0 where the source does not say."""


def media(path: str) -> str | bytes:
    """Return what FFmpeg can open: the name of local bytes, which it reads as it needs them, or the bytes of a URL.

    The bytes come in one request for a whole file, or for the range of a shard. Raises UnreadableError.
    """
    if is_url(path):
        return read_bytes(path)
    member = member_of(path)
    if member is None:
        return path
    # FFmpeg's own protocol for a part of a file; what comes after the last ",,:" is taken as it stands.
    return f"subfile,,start,{member.offset},end,{member.offset + member.size},,:{member.shard}"


def read_bytes(path: str) -> bytes:
    """Read all bytes of a local file, a URL, or a member of a shard. Raises UnreadableError, which says why."""
    member, file = member_of(path), file_of(path)
    if is_url(file):
        with _reasons(path):
            system, inner = _system(file)
            if member is None:
                data: bytes = system.cat_file(inner)
            else:
                data = system.cat_file(inner, start=member.offset, end=member.offset + member.size)
    else:
        try:
            with open(file, "rb") as opened:
                opened.seek(member.offset if member else 0)
                data = opened.read(member.size if member else -1)
        except OSError as error:
            raise UnreadableError(path, error.strerror or str(error)) from error
    if member is not None and len(data) != member.size:
        raise UnreadableError(
            path, f"{len(data)} bytes came, {member.size} were asked for: the shard is cut short, or its server "
            "does not give parts of files"
        )  # fmt: skip
    return data


def size_of(path: str, opened: str | bytes) -> int:
    """Return the bytes of ``path``, of which ``opened`` is what `media` gave."""
    member = member_of(path)
    if member is not None:
        return member.size
    return len(opened) if isinstance(opened, bytes) else Path(path).stat().st_size


def stamp(path: str) -> Stamp:
    """Return size and time of a local file, a URL, or the shard of a member. Raises UnreadableError."""
    file = file_of(path)
    if is_url(file):
        with _reasons(path):
            system, inner = _system(file)
            return Stamp(int(system.size(inner) or 0), 0)
    try:
        found = os.stat(file)
    except OSError as error:
        raise UnreadableError(path, error.strerror or str(error)) from error
    return Stamp(found.st_size, found.st_mtime_ns)


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a local file or a URL for reading from any place, as a binary file. Raises UnreadableError."""
    if is_url(path):
        with _reasons(path):
            system, inner = _system(path)
            with system.open(inner, "rb") as file:
                yield file
    else:
        try:
            with open(path, "rb") as file:
                yield file
        except OSError as error:
            raise UnreadableError(path, error.strerror or str(error)) from error


def find(pattern: str) -> list[str]:
    """Return the URLs that match a glob pattern, sorted. Raises UnreadableError."""
    with _reasons(pattern):
        system, inner = _system(pattern)
        return sorted(system.unstrip_protocol(found) for found in system.glob(inner))


def may_return(path: str, error: UnreadableError) -> bool:
    """Whether ``path`` failed together with its source: a server that is away, a disk that is not mounted."""
    if isinstance(error, UnreachableError):
        return True
    file, cause = file_of(path), error.__cause__
    if is_url(file) or not isinstance(cause, OSError):
        return False
    if cause.errno in AWAY:
        return True
    if not isinstance(cause, FileNotFoundError | NotADirectoryError):
        return False
    if os.path.exists(file):
        return True  # it has come back since
    folder = os.path.dirname(file) or "."
    return not os.path.isdir(folder) or not os.listdir(folder)  # an empty mount point looks like this


def check_urls(name: str, paths: Iterable[str]) -> None:
    """Raise DataError for URLs among ``paths`` that cannot be read here, before the first one is."""
    for protocol in sorted({path.partition("://")[0].lower() for path in paths if is_url(path)}):
        if protocol not in PROTOCOLS:
            raise DataError(
                f"{name}: URLs that begin with {protocol}:// are not read — {', '.join(sorted(PROTOCOLS))} are — "
                "copy the files to one of these, or to this machine"
            )
        try:
            _fsspec().get_filesystem_class(protocol)
        except (ImportError, ValueError) as error:
            raise DataError(f"{name}: {protocol}:// cannot be read here: {error}") from error


def _fsspec() -> ModuleType:
    """Import the package that knows URLs, on demand."""
    return need("fsspec", extra="remote")


def _system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for ``url``, and the path in it. Never kept: a forked process needs its own."""
    protocol = url.partition("://")[0]
    check_urls(url, [url])
    system = _fsspec().filesystem(protocol)
    return system, system._strip_protocol(url)


@contextmanager
def _reasons(path: str) -> Iterator[None]:
    """Turn what a file system or its network raises into an error that names ``path``.

    The packages behind fsspec share no class of error; all of theirs are taken for the source's failing, but for
    those that Python has for a file that is not there.
    """
    try:
        yield
    except DataError:
        raise
    except GONE as error:
        raise UnreadableError(path, str(error) or type(error).__name__) from error
    except Exception as error:  # each storage has errors of its own; all are told, with their kind
        reason = f"cannot be reached: {type(error).__name__}: {error}"
        raise UnreachableError(path, reason.splitlines()[0]) from error
