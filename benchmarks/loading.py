"""How many random training clips a second come out of H.264 files, from the original files and from packed ones.

    python -m benchmarks.loading [--peer PATH] [--folder FOLDER]

Clips of 16 frames with stride 4 from generated videos (320 x 240 and 1280 x 720, a key frame every 12 or 250 frames,
10 s at 30 per second, x264's defaults), cut at random (area .3-1, aspect .75-1.35, flip) to 224 x 224, normalised, by 2
decoding processes. Every run is a fresh stream, from its start to its last batch. The peer's loader runs beside
(decord, its VideoTransform); it draws its own clips from the same distribution. Equality is checked first.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.pairs import Times, interleave, options, print_header, print_table, ratio, say
from benchmarks.peers import add_peer, peer_modules, silence
from jepa.config.data import DataConfig, ShardSource
from jepa.data.loader import train_stream
from jepa.data.needed import Needed
from jepa.data.pyav import PyAVVideo, open_stream
from jepa.data.reencode import Encoding
from jepa.data.sources import open_source
from jepa.preprocess import normalise, resize
from jepa.programs.pack import pack
from jepa.types import Masks

FPS, SECONDS, T, STRIDE, SIDE, WORKERS, BATCH = 30, 10, 16, 4, 224, 2, 4
SCALE, ASPECT = (0.3, 1.0), (0.75, 1.35)
SIZES = ((240, 320), (720, 1280))
GOPS = (12, 250)
CLIPS = {240: 32, 720: 8}  # of one run; its start takes .1 s
GRAIN = 1.5  # grey levels: deviation of the noise that a camera adds
PACKED = {"packed, every frame a key frame": Encoding(gop=1, crf=20), "packed, as by default": Encoding()}


class Kind(NamedTuple):
    """Videos of one size and one distance of key frames."""

    height: int
    gop: int
    folder: Path

    @property
    def name(self) -> str:
        """The name in the tables."""
        width = dict(SIZES)[self.height]
        return f"{width} x {self.height}, {self.gop}"

    @property
    def files(self) -> list[str]:
        """The videos."""
        return sorted(str(path) for path in self.folder.glob("*.mp4"))


def texture(side: int, draws: torch.Generator, slope: float) -> Tensor:
    """Draw a picture with the spectrum of photographs, amplitude falling with frequency: (3, side, side) in 0-255."""
    squares = torch.fft.rfftfreq(side)[None] ** 2 + torch.fft.fftfreq(side)[:, None] ** 2
    amplitude = squares.sqrt().clamp_min(1 / side) ** -slope
    phases = torch.rand(3, *amplitude.shape, generator=draws) * 2 * torch.pi
    picture = torch.fft.irfft2(torch.polar(amplitude.expand(3, -1, -1), phases), s=(side, side))
    picture = picture + 2 * picture.mean(0, keepdim=True)  # colours go together
    return (128 + 45 * (picture - picture.mean()) / picture.std()).clamp(0, 255)


def sample(picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Read a picture at places in [-1, 1], mirrored outside: (3, S, S), (h, w), (h, w) -> (3, h, w)."""
    places = torch.stack([x, y], -1)[None].float()
    return F.grid_sample(picture[None], places, align_corners=False, padding_mode="reflection")[0]


def scene(seed: int) -> Iterator[Tensor]:
    """Render 1280 x 720 frames: a panning background, five turning things that cross it, a camera's noise."""
    draws = torch.Generator().manual_seed(seed)
    height, width = SIZES[-1]
    back = texture(2048, draws, 1.3)
    things = [(texture(512, draws, 1.2), torch.rand(6, generator=draws).tolist()) for _ in range(5)]
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    for frame in range(FPS * SECONDS):
        s = frame / FPS
        x, y = columns + 300 + 80 * np.sin(0.5 * s + seed), rows + 300 + 40 * np.cos(0.7 * s)
        image = sample(back, (x / 1024 - 1).expand(height, -1), (y / 1024 - 1).expand(-1, width))
        for picture, (size, fast, phase, steep, later, turn) in things:
            radius = 60 + 90 * size
            middle_x = width / 2 + 500 * np.sin((0.4 + 1.2 * fast) * s + 6 * phase)
            middle_y = height / 2 + 260 * np.sin((0.4 + 1.2 * steep) * s + 6 * later)
            top, left = max(0, int(middle_y - radius)), max(0, int(middle_x - radius))
            part = (slice(top, int(middle_y + radius) + 1), slice(left, int(middle_x + radius) + 1))
            v, u = (rows[part[0]] - middle_y) / radius, (columns[:, part[1]] - middle_x) / radius
            cos, sin = np.cos(turn * s), np.sin(turn * s)
            surface = sample(picture, 0.6 * (u * cos - v * sin), 0.6 * (u * sin + v * cos))
            cover = ((1 - (u**2 + v**2).sqrt()) * radius).clamp(0, 1)
            image[:, *part] = torch.lerp(image[:, *part], surface, cover.float())
        yield (image + GRAIN * torch.randn(height, width, generator=draws)).clamp(0, 255).byte()  # (3, H, W)


def write_videos(folder: Path, videos: int) -> list[Kind]:
    """Write all kinds of videos, but for those that are there."""
    kinds = [Kind(height, gop, folder / f"{height}-{gop}") for height, _ in SIZES for gop in GOPS]
    for seed in range(videos):
        missing = [kind for kind in kinds if not (kind.folder / f"{seed}.mp4").exists()]
        if not missing:
            continue
        with ExitStack() as stack:
            sinks = [(kind, *open_sink(kind, seed, stack)) for kind in missing]
            for image in scene(seed):
                for kind, container, stream in sinks:
                    pixels = resize(image[None], kind.height, dict(SIZES)[kind.height])[0]
                    frame = av.VideoFrame.from_ndarray(
                        pixels.permute(1, 2, 0).contiguous().numpy(), format="rgb24"
                    )
                    container.mux(stream.encode(frame))
            for _, container, stream in sinks:
                container.mux(stream.encode())
        for kind in missing:
            (kind.folder / f"{seed}.part").rename(kind.folder / f"{seed}.mp4")
    return kinds


def open_sink(kind: Kind, seed: int, stack: ExitStack) -> tuple[Any, Any]:
    """Open a file to write, which keeps another name until it is whole."""
    kind.folder.mkdir(parents=True, exist_ok=True)
    container = stack.enter_context(av.open(str(kind.folder / f"{seed}.part"), "w", format="mp4"))
    stream = container.add_stream("libx264", rate=FPS)
    stream.height, stream.width, stream.pix_fmt = kind.height, dict(SIZES)[kind.height], "yuv420p"
    stream.options = {"g": str(kind.gop), "thread_type": "frame", "threads": "2"}
    return container, stream


def no_masks(modality: str, clips: int, draws: torch.Generator) -> tuple[Masks, ...]:
    """Draw no masks: they are not what is measured."""
    return (Masks(torch.zeros(clips, 1, dtype=torch.long), torch.zeros(clips, 1, dtype=torch.long)),)


def run_ours(source: dict[str, str], clips: int, *, per_video: int = 1) -> None:
    """Read so many clips through the training stream."""
    settings = {
        "sources": [source],
        "frames_per_clip": T,
        "stride": STRIDE,
        "resolution": SIDE,
        "batch_size": BATCH,
        "workers": WORKERS,
        "clips_per_video": per_video,
        "decoder": "pyav",
        "augment": {"scale": SCALE, "aspect": ASPECT},
    }
    config = DataConfig.model_validate(settings, strict=False)
    stream = train_stream(config, seed=0, start_step=0, steps=clips // BATCH, sample_masks=no_masks)
    shapes = {tuple(batch.clip.shape) for batch in stream}
    assert shapes == {(BATCH, 3, T, SIDE, SIDE)}, shapes


def run_peer(modules: list[Any], kind: Kind, clips: int, *, per_video: int = 1) -> None:
    """Read so many clips through the peer's loader."""
    datasets, transforms = modules
    listed = kind.folder / f"peer-{clips}-{per_video}.csv"
    videos = [kind.files[number % len(kind.files)] for number in range(clips // per_video)]
    listed.write_text("".join(f"{path} 0\n" for path in videos))
    transform = transforms.make_transforms(
        random_resize_aspect_ratio=ASPECT, random_resize_scale=SCALE, crop_size=SIDE
    )
    with silence():  # it logs every loader that it makes
        _, loader, _ = datasets.make_videodataset(
            [str(listed)],
            BATCH // per_video,
            frames_per_clip=T,
            frame_step=STRIDE,
            num_clips=per_video,
            transform=transform,
            num_workers=WORKERS,
            pin_mem=False,
        )
    shapes = {tuple(clip.shape) for buffers, _, _ in loader for clip in buffers}
    assert shapes == {(BATCH // per_video, 3, T, SIDE, SIDE)}, shapes


def starts(video: PyAVVideo, clips: int) -> list[int]:
    """Spread the first frames of clips over a video."""
    room = video.info.frames - (T - 1) * STRIDE
    return [int((clip + 0.5) / clips * room) for clip in range(clips)]


def bare_decoding(path: str, *, everything: bool, clips: int = 8) -> float:
    """Return ms of CPU to decode a clip's frames from the nearest key frame on one thread, and nothing else."""
    with PyAVVideo(path) as video:
        table, firsts = video.table, starts(video, clips)
    spent = 0.0
    for first in firsts:
        container, stream = open_stream(path)
        wanted = table.ticks[first : first + (T - 1) * STRIDE + 1 : STRIDE].tolist()
        needed = Needed(table.keys.tolist(), stream.codec_context)
        if not everything:
            needed.want(wanted)
        container.seek(wanted[0], stream=stream)
        begin = time.thread_time()
        shown = -1
        for packet in container.demux(stream):
            pictures = packet.decode() if needed.needs(packet) else []
            if needed.complete:
                pictures += stream.codec_context.decode(None)
            shown = max([shown, *(picture.pts for picture in pictures if picture.pts is not None)])
            if shown >= wanted[-1]:
                break
        spent += time.thread_time() - begin
        container.close()
    return spent / clips * 1000


def check_frames(kind: Kind) -> None:
    """Assert that nothing that is left out changes a bit, against decoding everything."""
    for path in kind.files:
        with PyAVVideo(path) as plain, PyAVVideo(path) as fast:
            plain._needed.distrust()
            for first in starts(plain, 3):
                indices = range(first, first + T * STRIDE - 3, STRIDE)
                assert torch.equal(plain.read(indices), fast.read(indices)), (path, first)


def check_peer(kind: Kind, transforms: Any) -> list[object]:
    """Compare the peer's frames and its transform with ours, on the same frames and the same crop."""
    import importlib
    import random

    decord: Any = importlib.import_module("decord")
    with PyAVVideo(kind.files[0]) as video:
        indices = list(range(40, 40 + T * STRIDE - 3, STRIDE))
        frames = video.read(indices)  # (T, H, W, 3)
    theirs = torch.from_numpy(decord.VideoReader(kind.files[0]).get_batch(indices).asnumpy())
    decoded = (frames.int() - theirs.int()).abs().float()
    assert decoded.mean() < 2, decoded.mean()
    random.seed(0)
    np.random.seed(3)  # its flip
    make = transforms.make_transforms(
        random_horizontal_flip=False,
        random_resize_aspect_ratio=ASPECT,
        random_resize_scale=SCALE,
        crop_size=SIDE,
    )
    transformed = make(frames.numpy())  # (C, T, h, w)
    random.seed(0)
    from_peer: Any = importlib.import_module("src.datasets.utils.video.transforms")
    top, left, height, width = from_peer._get_param_spatial_crop(SCALE, ASPECT, *frames.shape[1:3])
    crop = frames[:, top : top + height, left : left + width].permute(0, 3, 1, 2)  # (T, C, h, w)
    plain = F.interpolate(crop.float(), (SIDE, SIDE), mode="bilinear")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    exact = (plain.transpose(0, 1) / 255 - mean[:, None, None, None]) / std[:, None, None, None]
    torch.testing.assert_close(transformed, exact, atol=1e-4, rtol=0)
    ours = resize(crop, SIDE, SIDE).float()
    smooth = F.interpolate(crop.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    rounding = (ours - smooth).abs().max()
    assert rounding < 1.5, rounding  # bytes are rounded after the rows and after the columns
    assert normalise(crop).shape == (3, T, height, width)
    return [
        kind.name,
        f"{decoded.mean():.2f}, at most {decoded.max():.0f}",
        f"{(transformed - exact).abs().max():.1e}",
        f"{rounding:.2f}",
        f"{(ours - plain).abs().mean():.2f}",
    ]


def packed(kind: Kind, encoding: Encoding, folder: Path) -> dict[str, str]:
    """Pack the kind's videos, and return them as a source."""
    pack([str(kind.folder)], folder, encoding=encoding, shard_mb=512, workers=WORKERS)
    return {"kind": "shards", "path": str(folder)}


def quality(kind: Kind, source: dict[str, str]) -> tuple[float, float]:
    """Return bytes of the packed clips over the originals', and their PSNR in dB to the originals, shrunk."""
    entries = open_source(ShardSource.model_validate(source)).entries
    errors = []
    for path, entry in zip(kind.files, entries, strict=True):
        with PyAVVideo(path) as before, PyAVVideo(entry.path) as after:
            for index in range(7, before.info.frames, 41):
                whole = before.read([index]).permute(0, 3, 1, 2)  # (1, 3, H, W)
                wanted = resize(whole, after.info.height, after.info.width).permute(0, 2, 3, 1).float()
                errors.append(float((after.read([index]).float() - wanted).square().mean()))
    before_bytes = sum(Path(path).stat().st_size for path in kind.files)
    after_bytes = sum(shard.stat().st_size for shard in Path(source["path"]).glob("*.tar"))
    return after_bytes / before_bytes, 10 * np.log10(255**2 / statistics.mean(errors))


def per_clip(times: Times, clips: int) -> Times:
    """Divide by the clips of a run."""
    return Times(tuple(wall / clips for wall in times.wall), tuple(cpu / clips for cpu in times.cpu))


def measure(kind: Kind, modules: list[Any] | None, folder: Path, arguments: argparse.Namespace) -> None:
    """Print what one kind of videos takes, each way beside the others."""
    clips = CLIPS[kind.height]
    original = {"kind": "folder", "path": str(kind.folder)}
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        "ours": (clips, partial(run_ours, original, clips)),
        "ours, 4 clips per video": (2 * clips, partial(run_ours, original, 2 * clips, per_video=4)),
    }
    if modules is not None:
        runs["peer"] = (clips, partial(run_peer, modules, kind, clips))
        runs["peer, 4 clips per video"] = (clips, partial(run_peer, modules, kind, clips, per_video=4))
    sizes = {}
    for name, encoding in PACKED.items():
        source = packed(kind, encoding, folder / f"{kind.height}-{kind.gop}-{encoding.gop}")
        runs[name] = (96, partial(run_ours, source, 96))
        sizes[name] = quality(kind, source)
    found = interleave({name: run for name, (_, run) in runs.items()}, rounds=arguments.rounds)
    times = {name: per_clip(found[name], runs[name][0]) for name in runs}
    rows = []
    for name, spent in times.items():
        size = f"{sizes[name][0]:.2f}, {sizes[name][1]:.1f} dB" if name in sizes else ""
        against = str(ratio(times["peer"], spent)) if "peer" in times else ""
        rows.append((kind.name, name, f"{1 / spent.seconds:.1f}", against, size))
    print_table(("size, key frame every", "", "clips/s", "times the peer's clips/s", "bytes, PSNR"), rows)


def main() -> None:
    """Write the videos, check equality, print floors and rates."""
    parser = options(__doc__)
    add_peer(parser, "facebookresearch/vjepa2")
    parser.add_argument("--folder", type=Path, help="where the videos are kept; else they are written anew")
    parser.add_argument("--videos", type=int, default=2, help="of each kind")
    arguments = parser.parse_args()
    print_header(arguments, "av", *(["decord"] if arguments.peer else []))
    modules = None
    if arguments.peer:
        modules = peer_modules(arguments.peer, "src.datasets.video_dataset", "app.vjepa.transforms")
    with tempfile.TemporaryDirectory() as temporary:
        kinds = write_videos(arguments.folder or Path(temporary) / "videos", arguments.videos)
        for kind in kinds:
            check_frames(kind)
        say("Frames are bit for bit those of decoding everything.\n")
        if modules is not None:
            titles = (
                "frames, grey levels",
                "transform, same frames and crop",
                "our rounding",
                "antialiasing",
            )
            print_table(("size, key frame every", *titles), [check_peer(kind, modules[1]) for kind in kinds])
        rows = []
        for kind in kinds:
            floors = [bare_decoding(kind.files[0], everything=everything) for everything in (True, False)]
            rate = sum(Path(path).stat().st_size for path in kind.files) * 8 / SECONDS / len(kind.files) / 1e3
            rows.append(
                (
                    kind.name,
                    f"{rate:.0f}",
                    *(f"{ms:.1f}" for ms in floors),
                    f"{WORKERS * 1000 / floors[1]:.1f}",
                )
            )
        titles = ("kbit/s", "decoding all, ms per clip", "decoding what is needed", "its bound, clips/s")
        print_table(("size, key frame every", *titles), rows)
        for kind in kinds:
            measure(kind, modules, Path(temporary), arguments)


if __name__ == "__main__":
    main()
