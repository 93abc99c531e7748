"""Files that are no weights, and what is to be said of each."""

import os
import pickle
from pathlib import Path

import torch
from safetensors.torch import save_file

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 4211992104\n"
)

# Name of the case: file name, and what the message says.
BAD = {
    "cut zip": (
        "a.pt",
        r"cannot be read as weights: it is damaged .*it has [\d,]+ bytes: compare with the original",
    ),
    "cut legacy": ("a.pth.tar", r"cannot be read as weights: it is damaged"),
    "cut safetensors": ("a.safetensors", r"cannot be read as weights: it is damaged .*SafetensorError"),
    "stub safetensors": ("a.safetensors", r"cannot be read as weights: it is damaged .*SafetensorError"),
    "code": ("a.pt", r"it would run code when opened \(\S+\), which is never done here"),
    "code, legacy": ("a.pt", r"it would run code when opened \(\S+\), which is never done here"),
    "code, bare": ("a.pt", r"it would run code when opened|is damaged or holds code"),
    "pointer": (
        "a.safetensors",
        r"is a pointer of git LFS, not the file: 4,211,992,104 bytes .*git lfs pull",
    ),
    "page": ("a.pt", r"is a web page, not weights: .*Download the file itself"),
    "empty": ("a.safetensors", r"is empty \(0 bytes\): .*Fetch it again"),
    "folder": ("a.pt", r"is a folder; a file of weights is needed here"),
    "picture": ("a.pt", r"it begins with b'\\x89PNG.* neither torch's \(\.pt\) nor safetensors'"),
    "other zip": ("a.pt", r"cannot be read as weights: it is damaged"),
    "missing": ("a.pt", r"does not exist; give a run directory or a file of weights"),
}


class Attack:
    """Makes a folder when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (os.mkdir, (str(self.path),))


def write_bad(case: str, folder: Path) -> tuple[Path, str]:
    """Write one of the bad files into ``folder``; return its path and a pattern of the message."""
    name, message = BAD[case]
    path = folder / name
    weights, code = {"weight": torch.ones(64)}, {"weight": torch.ones(2), "x": Attack(folder / "ran")}
    if case == "folder":
        path.mkdir()
    elif case in ("cut zip", "cut legacy"):
        torch.save(weights, path, _use_new_zipfile_serialization=case == "cut zip")
        path.write_bytes(path.read_bytes()[:-100])
    elif case.endswith("safetensors"):
        save_file(weights, path)
        path.write_bytes(path.read_bytes()[: 5 if case.startswith("stub") else -10])
    elif case in ("code", "code, legacy"):
        torch.save(code, path, _use_new_zipfile_serialization=case == "code")
    elif case == "other zip":
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("letter.txt", "dear reader")
    elif case != "missing":
        contents = {
            "code, bare": pickle.dumps(Attack(folder / "ran"), protocol=2),
            "pointer": POINTER.encode(),
            "page": b"\n<!DOCTYPE html><html><title>Sign in</title></html>",
            "empty": b"",
            "picture": b"\x89PNG\r\n\x1a\n" + bytes(64),
        }
        path.write_bytes(contents[case])
    return path, message
