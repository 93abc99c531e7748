"""Verbs that measure a frozen encoder."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jepa.cli.app import Json, Overrides, RunDirOption, answer, app
from jepa.cli.launch import launchable

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run directory, a checkpoint, or timm:NAME[@WEIGHTS].")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="A run, a checkpoint, or timm:NAME.")
]


class IndexKind(StrEnum):
    """How nearest clips are found."""

    auto = "auto"
    flat = "flat"
    ivf = "ivf"
    hnsw = "hnsw"


Split = Annotated[str | None, typer.Option(help="Only rows of the list whose split column holds this.")]


@app.command()
@launchable
def embed(
    model: Model,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder of videos or images, or a list.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the features; continued when begun.")
    ],
    split: Split = None,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Also keep every token, for attentive heads.")
    ] = False,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Write the frozen features of all clips of a source, once."""
    from jepa.programs.embed import embed as run

    result = run(model, source, out, split=split, tokens=tokens, overrides=overrides or [])
    answer(as_json, result.to_dict(), f"{result.status}: {result.clips:,} clips in {result.directory}")


@app.command()
@launchable
def probe(
    config: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="A YAML; or give the options below.")
    ] = None,
    model: ModelOption = None,
    train: Annotated[str | None, typer.Option(help="Folder, list or features to fit on.")] = None,
    test: Annotated[str | None, typer.Option(help="Folder, list or features that are scored once.")] = None,
    head: Annotated[
        list[str] | None, typer.Option(help="linear, mlp, attentive or knn; may be repeated.")
    ] = None,
    run_dir: RunDirOption = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Fit heads on frozen features and score each once, beside raw pixels and an untrained encoder."""
    from jepa.programs.probe_config import probe_config

    parsed = probe_config(
        config, model=model, train=train, test=test, heads=head, run_dir=run_dir, overrides=overrides or []
    )
    from jepa.programs.probe import probe as run

    result = run(parsed)
    answer(as_json, {"run_dir": str(result.run_dir), "summary": result.summary}, None)


@app.command()
def search(
    index: Annotated[Path, typer.Argument(metavar="FEATURES", help="A folder that `jepa embed` wrote.")],
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A video, an image, a folder or a list of them.")
    ],
    k: Annotated[int, typer.Option(help="Neighbours to show.", min=1)] = 5,
    pooling: Annotated[str, typer.Option(help="Which features: mean or time.")] = "mean",
    kind: Annotated[
        IndexKind, typer.Option(help="Index: auto is exact up to 50,000 clips, then ivf.")
    ] = IndexKind.auto,
    sheet: Annotated[Path, typer.Option("--sheet", help="Where the contact sheet (PNG) goes.")] = Path(
        "search.png"
    ),
    as_json: Json = False,
) -> None:
    """Find the clips that are nearest to a query, and show them."""
    from jepa.programs.search import render
    from jepa.programs.search import search as run

    found = run(index, query, k=k, pooling=pooling, kind=kind.value, sheet=sheet)
    answer(as_json, found.to_dict(), render(found))


@app.command()
def health(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Runs, checkpoints or timm:NAME.")],
    source: Annotated[
        str, typer.Option("--source", help="Folder of videos or images, or a list; no labels needed.")
    ],
    split: Split = None,
    views: Annotated[int, typer.Option(help="Clips of each video, as views of one thing.", min=2)] = 4,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Measure encoders without labels, to choose a checkpoint: LiDAR, RankMe, alpha-ReQ, uniformity, alignment."""
    from jepa.programs.health_report import health as run
    from jepa.programs.health_report import render

    found = run(models, source, split=split, views=views, overrides=overrides or [])
    answer(as_json, {model: one.to_dict() for model, one in found.items()}, render(found))


@app.command("eval")
@launchable
def evaluate(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A benchmark: the name of a file in evals/, or its path.")
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="A run, a checkpoint, or timm:NAME.")
    ],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="PATH", help="The folder of its data.")
    ] = None,
    run_dir: RunDirOption = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Run a benchmark as it is declared, beside its published scores."""
    from jepa.programs.benchmark import benchmark as run

    result = run(name, model=model, data=data, run_dir=run_dir, overrides=overrides or [])
    answer(as_json, {"run_dir": str(result.run_dir), "summary": result.summary}, None)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories of runs and probes.")],
    mean: Annotated[
        bool, typer.Option("--mean", help="The runs are seeds of one thing: show mean and deviation.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with curves.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put the results of several runs side by side."""
    from jepa.programs.compare import compare as run

    comparison = run(runs, mean=mean, html=html)
    answer(as_json, comparison.to_dict(), comparison.render())
