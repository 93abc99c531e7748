"""What all pages share: the template engine, charts and pictures that lie in the page, numbers as words."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from jepa.runtime.run_dir import write_text
from jepa.runtime.terminal import duration

Picture = Image.Image | np.ndarray

WIDEST_PX = 1920  # twice the page's column, for dense screens


def render(template: str, context: Mapping[str, object]) -> str:
    """Fill a template; what is not marked safe is escaped, and an unknown name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(context)


def keep_charts(folder: Path, charts: Mapping[str, str], *, prefix: str = "") -> list[Markup]:
    """Write charts, by name, as files in ``folder``, and return them for a page."""
    for name, svg in charts.items():
        write_text(folder / f"{slug(f'{prefix} {name}')}.svg", svg)
    return [Markup(svg) for svg in charts.values()]


def keep_picture(path: Path, picture: Picture) -> str:
    """Write a picture as PNG, or as JPEG where ``path`` ends so, and return it as a data URI."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    if image.width > WIDEST_PX:
        height = round(image.height * WIDEST_PX / image.width)
        image = image.resize((WIDEST_PX, height), Image.Resampling.LANCZOS)
    kind = "jpeg" if path.suffix == ".jpg" else "png"
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format=kind, optimize=True)
    path.write_bytes(buffer.getvalue())
    return inlined(path)


def inlined(path: Path) -> str:
    """Return a picture on disk, an animation too, as a data URI."""
    kind = {".jpg": "jpeg"}.get(path.suffix, path.suffix.removeprefix("."))
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def is_number(value: object) -> bool:
    """Say whether ``value`` can be drawn; True and False cannot."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def facts_of(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the plain values, those that fit beside a word, as names and texts."""
    plain = {key: value for key, value in values.items() if isinstance(value, str | int | float | bool)}
    return [(words(key), fact(key, value)) for key, value in plain.items()]


def fact(key: str, value: object) -> str:
    """Write a fact for reading: seconds as a duration, whole numbers with commas, others in four digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and key.endswith(("seconds", "_s")) and "per_s" not in key:
        return duration(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def words(key: str) -> str:
    """Turn a metric's name into words: clips_per_s -> clips per s."""
    return key.replace("_", " ").replace("knn", "k-NN")


def slug(title: str) -> str:
    """Turn a chart's title into a file name."""
    return "".join(c if c.isalnum() else "_" for c in title.lower()).strip("_")
