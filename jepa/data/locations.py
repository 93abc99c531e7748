"""How a clip's place is written: a local path, a URL, or a part of a tar shard."""

import re
from typing import NamedTuple

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
MEMBER = re.compile(r"(?P<shard>.+?\.tar)::(?P<name>.+)@(?P<offset>\d+)\+(?P<size>\d+)", re.DOTALL)
LOCAL = "file://"


class Member(NamedTuple):
    """A file inside a tar shard that is not compressed: a range of the shard's bytes."""

    shard: str
    """Local path or URL of the shard."""
    name: str
    """The file's name in the shard; nothing is ever written under it."""
    offset: int
    """First byte."""
    size: int
    """Bytes."""

    @property
    def path(self) -> str:
        """All of this in one string: ``shard-000012.tar::0001.mp4@1536+2255``."""
        return f"{self.shard}::{self.name}@{self.offset}+{self.size}"


def member_of(path: str) -> Member | None:
    """Read what `Member.path` wrote; None for the path of a whole file.

    >>> member_of("s3://bucket/shard-000012.tar::0001.mp4@1536+2255")
    Member(shard='s3://bucket/shard-000012.tar', name='0001.mp4', offset=1536, size=2255)
    """
    match = MEMBER.fullmatch(path) if "::" in path else None
    if match is None:
        return None
    return Member(match["shard"], match["name"], int(match["offset"]), int(match["size"]))


def spelled(path: str) -> str:
    """Return ``path`` for messages: of a member the shard and the name, ``shard-000012.tar::0001.mp4``."""
    member = member_of(path)
    return path if member is None else f"{member.shard}::{member.name}"


def file_of(path: str) -> str:
    """Return the file in which the bytes of ``path`` lie: of a member its shard, else ``path`` itself."""
    member = member_of(path)
    return path if member is None else member.shard


def is_url(path: str) -> bool:
    """Whether ``path`` names a file that is not read through the local file system."""
    return URL.match(path) is not None and not path.startswith(LOCAL)


def local(path: str) -> str:
    """Return ``path`` without ``file://``, which says no more than a plain path does."""
    return path.removeprefix(LOCAL)
