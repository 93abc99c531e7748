"""Verbs that hand weights on, to this library and to others."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jepa.cli.app import Json, answer, app


class WeightsKind(StrEnum):
    """Which of the two encoders of a run."""

    target = "target"
    encoder = "encoder"


Source = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="A run, a checkpoint, weights of any format, or FORMAT:PATH."),
]
Licence = Annotated[
    str | None,
    typer.Option(
        "--licence", "--license", metavar="TEXT", help="Licence of the weights, for the model card."
    ),
]
Push = Annotated[
    str | None,
    typer.Option(
        "--push", metavar="REPO_ID", help="Also send it to the Hugging Face Hub; a new one is private."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier export wrote.")]
WeightsOption = Annotated[
    WeightsKind, typer.Option("--weights", help="Of a run: the EMA copy, or the encoder that was trained.")
]


@app.command()
def export(
    source: Source,
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="New folder or file.")],
    target: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="jepa, hf, timm, onnx, torch-export, ...")
    ] = "jepa",
    weights: WeightsOption = WeightsKind.target,
    licence: Licence = None,
    push: Push = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write an encoder or a world model for others to load, read it again, and compare."""
    from jepa.programs.convert import convert as run

    result = run(source, target, out, weights=weights.value, licence=licence, overwrite=overwrite, push=push)
    answer(as_json, result.to_dict(), str(result))


@app.command()
def convert(
    source: Source,
    target: Annotated[str, typer.Argument(metavar="FORMAT:PATH", help="The format and where it goes.")],
    weights: WeightsOption = WeightsKind.target,
    licence: Licence = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Rewrite weights of any format in another one: jepa convert vjepa2:vitl.pt hf:vitl."""
    from jepa.programs.convert import convert as run
    from jepa.programs.convert import target_named

    name, path = target_named(target)
    result = run(source, name, path, weights=weights.value, licence=licence, overwrite=overwrite)
    answer(as_json, result.to_dict(), str(result))
