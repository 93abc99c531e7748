"""Verbs that make data and look at it."""

from pathlib import Path
from typing import Annotated

import typer

from jepa.cli.app import Json, Overrides, answer, app
from jepa.cli.launch import launchable

data_app = typer.Typer(help="Make and look at data.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command()
def synth(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.")],
    train: Annotated[int, typer.Option(help="Training videos.", min=1)] = 2048,
    test: Annotated[int, typer.Option(help="Held-out videos, from another seed.", min=1)] = 512,
    frames: Annotated[int, typer.Option(help="Frames per video.", min=2)] = 16,
    size: Annotated[int, typer.Option(help="Height and width in pixels (even).", min=16)] = 64,
    fps: Annotated[int, typer.Option(help="Frames per second.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the set.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Write H.264 videos of moving textured shapes, labelled by motion and by appearance."""
    from jepa.programs.data import synth as run

    counts = run(directory, train=train, test=test, frames=frames, size=size, fps=fps, seed=seed)
    answer(as_json, counts, f"wrote {train} + {test} videos and 4 label lists to {directory}")


@data_app.command()
def inspect(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Folder of videos, images or shards, or a list.")
    ],
    sheet: Annotated[Path, typer.Option("--sheet", help="Where the contact sheet (PNG) goes.")] = Path(
        "contact-sheet.png"
    ),
    as_json: Json = False,
) -> None:
    """Print counts, durations, frame rates and bad files of a source, and write a contact sheet."""
    from jepa.programs.data import inspect as run
    from jepa.programs.data import render

    summary = run(source, sheet)
    answer(as_json, summary, render(summary))


@data_app.command()
@launchable
def pack(  # noqa: PLR0913, PLR0917 - one for each option
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Folders of videos or images, lists, or shards.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the shards go.")],
    short_side: Annotated[
        int, typer.Option(help="Pixels of the shorter side; none is enlarged.", min=16)
    ] = 256,
    shard_mb: Annotated[int, typer.Option(help="Largest shard.", min=1)] = 512,
    gop: Annotated[int, typer.Option(help="Frames from key frame to key frame.", min=1)] = 12,
    crf: Annotated[int, typer.Option(help="Quality of H.264; smaller is better.", min=0, max=51)] = 23,
    workers: Annotated[int, typer.Option(help="Encoding processes.", min=0)] = 2,
    copy: Annotated[bool, typer.Option("--copy", help="Take files as they are, without encoding.")] = False,
    as_json: Json = False,
) -> None:
    """Write clips into tar shards, small and quick to read; the same command goes on with an unfinished folder."""
    from jepa.data.reencode import Encoding
    from jepa.programs.pack import pack as run

    encoding = Encoding(short_side, gop, crf, copy)
    result = run(sources, out, encoding=encoding, shard_mb=shard_mb, workers=workers)
    text = "{status}: {samples} clips in {shards} shards ({bytes} bytes) in {folder}; {bad} files could not be read"
    answer(as_json, result, text.format_map(result))


@data_app.command()
@launchable
def collect(
    env: Annotated[
        str, typer.Argument(metavar="ENV", help="Kind of environment, such as two-room, or a YAML file.")
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of the episodes.")] = None,
    episodes: Annotated[int | None, typer.Option(help="How many; those that are there already stay.")] = None,
    policy: Annotated[str | None, typer.Option(help="Who acts: random or expert.")] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Record episodes of an environment; the same command goes on with an unfinished folder.

    Any environment of gymnasium that shows images: collect gymnasium --set env.name=FrozenLake-v1 --out DIR
    --episodes 5. One that another package registers is named with its module: env.name=ale_py:ALE/Pong-v5.
    """
    from jepa.programs.collect_config import collect_config

    # A wrong config is answered before torch is imported.
    config = collect_config(env, out=out, episodes=episodes, policy=policy, overrides=overrides or ())
    from jepa.programs.collect import collect as run

    result = run(config)
    answer(
        as_json,
        result.to_dict(),
        f"{result.status}: {result.episodes} of {config.episodes} episodes in {result.path}, "
        f"{result.recorded} of them recorded now",
    )
