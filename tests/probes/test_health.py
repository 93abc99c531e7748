"""Health without labels: what a report holds, and that it puts real encoders in order."""

import json
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

from jepa.data.synthetic import render
from jepa.errors import DataError
from jepa.models.encoder import Encoder
from jepa.preprocess import normalise, resize
from jepa.probes.health import collapse_warning, health_report, health_table, rank_encoders
from jepa.probes.spectrum import clip_directions, effective_rank, lidar
from jepa.programs.demo import demo_config
from jepa.programs.masking import masks_for
from jepa.programs.pretrain_step import fresh_state, pretrain_step
from jepa.types import Batch


def moments(first: int, count: int, *, seed: int, views: int = 1) -> torch.Tensor:
    """Return clips of synthetic videos, (count, views, 3, 8, 32, 32); views are random crops with pixel noise."""
    draw = torch.Generator().manual_seed(seed)
    clips = []
    for index in range(first, first + count):
        pixels = torch.from_numpy(render(index, seed=seed, frames=8, size=64).frames).permute(0, 3, 1, 2)
        for _ in range(views):
            side = 64 if views == 1 else int(torch.randint(45, 65, (), generator=draw))
            top, left = (int(torch.randint(0, 65 - side, (), generator=draw)) for _ in range(2))
            part = resize(pixels[:, :, top : top + side, left : left + side].contiguous(), 32, 32).float()
            if views > 1:
                part += 8 * torch.randn(part.shape, generator=draw)
            clips.append(part.round().clamp(0, 255).to(torch.uint8))
    return normalise(torch.stack(clips)).unflatten(0, (count, views))


def trained(steps: int, clips: torch.Tensor, folder: Path, *overrides: str, batch: int = 64) -> Encoder:
    """Return the encoder of the demo after ``steps`` steps on ``clips``."""
    short = [f"optim.steps={max(1, steps)}", f"optim.warmup_steps={min(100, steps // 3)}", "threads=1"]
    config = demo_config(folder, overrides=[*short, *overrides])
    state = fresh_state(config, torch.device("cpu"))
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        picked = torch.randint(0, len(clips), (batch,), generator=draw)
        pretrain_step(state, Batch(clips[picked], masks_for(config, "video", batch, draw)))
    return state.objective.probed.eval()


def read(encoder: Encoder, views: torch.Tensor) -> torch.Tensor:
    """Return (n, V, D) features, pooled over space."""
    features = [encoder.embed(part, "time") for part in views.flatten(0, 1).split(256)]
    return torch.cat(features).unflatten(0, views.shape[:2])


def test_a_collapsed_encoder_ranks_below_an_untrained_one(tmp_path):
    """Collapsed by training: LeJEPA without SIGReg has nothing that keeps features apart."""
    clips = moments(0, 64, seed=0)[:, 0]
    views = moments(0, 100, seed=1, views=4)
    collapse = "objective={kind: lejepa, sigreg_weight: 0.0}"
    reports = {
        "collapsed": health_report(read(trained(40, clips, tmp_path, collapse, batch=8), views)),
        "random": health_report(read(trained(0, clips, tmp_path), views)),
    }
    assert rank_encoders(reports) == ["random", "collapsed"]
    bad, good = reports["collapsed"], reports["random"]
    assert bad.clip_directions < 0.6 * good.clip_directions
    assert (bad.rankme < 0.25 * good.rankme, bad.relative_std < 0.25 * good.relative_std) == (True, True)
    assert bad.uniformity > 0.25 * good.uniformity  # both are negative


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a minute of training on a free core
def test_collapsed_random_and_trained_encoders_come_in_order(tmp_path):
    """Only clip_directions knows the whole order: an untrained encoder lets more noise through than a trained one."""
    clips = moments(0, 1024, seed=0)[:, 0]
    views = moments(0, 512, seed=1, views=4)
    encoders = {
        "collapsed": trained(60, clips, tmp_path, "objective={kind: lejepa, sigreg_weight: 0.0}"),
        "random": trained(0, clips, tmp_path),
        "trained": trained(1000, clips, tmp_path),
    }
    reports = {name: health_report(read(encoder, views)) for name, encoder in encoders.items()}
    assert rank_encoders(reports) == ["trained", "random", "collapsed"]
    strength = {name: report.clip_directions for name, report in reports.items()}
    assert strength["trained"] > 1.1 * strength["random"] > 1.1 * 2 * strength["collapsed"]


def test_a_report_holds_every_measure(generator):
    views = torch.randn(50, 1, 8, generator=generator) + 0.3 * torch.randn(50, 3, 8, generator=generator)
    report = health_report(views)
    assert (report.clips, report.views, report.width) == (50, 3, 8)
    assert report.lidar == lidar(views)
    assert report.clip_directions == clip_directions(views)
    assert report.rankme == effective_rank(views[:, 0])
    assert len(report.std_spectrum) == 8
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["std_spectrum"] == list(
        report.std_spectrum
    )


def test_one_view_leaves_out_what_needs_several(generator):
    report = health_report(torch.randn(50, 1, 8, generator=generator))
    assert (report.lidar, report.clip_directions, report.alignment) == (None, None, None)
    assert report.uniformity < -1


def test_total_collapse_is_reported_without_nan_in_json():
    report = health_report(torch.ones(20, 2, 8))
    assert math.isnan(report.alpha)
    assert report.to_dict()["alpha"] is None
    assert report.relative_std == 0


def test_the_table_has_one_row_per_encoder(generator):
    one, several = (health_report(torch.randn(20, views, 8, generator=generator)) for views in (1, 2))
    console = Console(width=200)
    with console.capture() as capture:
        console.print(health_table({"first": one, "second": several}))
    lines = capture.get().splitlines()
    assert next(line for line in lines if "first" in line).count(" - ") == 3
    assert f"{several.lidar:.3g}" in next(line for line in lines if "second" in line)
    assert one.render("alone").row_count == 1


def test_encoders_are_ranked_on_the_same_clips_only(generator):
    few, many = (health_report(torch.randn(n, 2, 8, generator=generator)) for n in (20, 30))
    with pytest.raises(DataError, match=r"same clips with 2 views or more.*\(20, 2, 8\), \(30, 2, 8\)"):
        rank_encoders({"a": few, "b": many})
    with pytest.raises(DataError, match="with 2 views or more"):
        rank_encoders({"a": health_report(torch.randn(20, 1, 8, generator=generator))})


def test_refuses_features_that_are_not_finite():
    with pytest.raises(DataError, match="views: 1 of 4 rows hold NaN or infinity, first row 2"):
        health_report(torch.ones(4, 2, 3).index_fill(0, torch.tensor([2]), float("nan")))


def test_warns_in_plain_words_with_the_values():
    text = collapse_warning({"effective_rank": 1.31, "target_std": 0.004, "loss": 0.1}, 128)
    assert text is not None
    assert text.startswith("features collapse: effective rank 1.3 of 128, target std 0.004;")
    assert "optim.learning_rate" in text


def test_warns_of_each_sign_alone():
    assert "target std 0.001" in collapse_warning({"target_std": 0.001, "effective_rank": 50.0}, 128)
    assert "effective rank 1.1 of 128" in collapse_warning({"effective_rank": 1.1, "target_std": 0.9}, 128)


def test_a_fresh_predictor_is_no_collapse():
    assert collapse_warning({"prediction_std": 0.001, "target_std": 0.8}, 128) is None


@pytest.mark.parametrize(
    "signals",
    [{}, {"effective_rank": 40.0, "target_std": 0.5, "prediction_std": 0.3}, {"target_std": float("nan")}],
)
def test_is_silent_about_health_and_about_what_was_not_measured(signals):
    assert collapse_warning(signals, 128) is None
