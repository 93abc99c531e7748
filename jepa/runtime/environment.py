"""What is installed, and whether it fits together."""

import importlib
import importlib.metadata
import platform

REQUIRED = (
    "torch",
    "torchvision",
    "timm",
    "av",
    "faiss-cpu",
    "numpy",
    "pydantic",
    "rich",
    "typer",
    "safetensors",
    "gymnasium",
)
OPTIONAL = ("torchcodec", "tensorboard", "wandb", "matplotlib", "huggingface-hub", "pyarrow")


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that is installed."""
    found = {"python": platform.python_version()}
    for name in (*REQUIRED, *OPTIONAL):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def torchvision_problem() -> str | None:
    """Say what is wrong between torch and torchvision, or return None."""
    try:
        importlib.import_module("torchvision")
    except ImportError as error:
        return f"torchvision cannot be imported ({error}); run: pip install --upgrade torch torchvision"
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        found = versions()
        return (
            f"torchvision {found.get('torchvision')} was built for another torch than {found.get('torch')} "
            f"({error}): often a CPU-only torch beside the CUDA-built torchvision of the registry; install both "
            "from one place in one command: pip install --upgrade --force-reinstall torch torchvision"
        )
    return None
