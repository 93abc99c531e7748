"""Encoders measured without labels, side by side."""

import numpy as np
import pytest
import torch

from jepa.data.feature_store import FeatureStore
from jepa.errors import ConfigError, DataError
from jepa.programs import extraction
from jepa.programs.health_report import by_view, health, render
from jepa.runtime.checkpoint import find_checkpoint

FAST = ["clips.workers=0"]


@pytest.fixture
def collapsed(trained, tmp_path):
    """The same encoder with nearly constant features."""
    state = torch.load(find_checkpoint(trained), weights_only=True)
    state["objective"]["target_encoder.norm.weight"] *= 1e-4
    state["objective"]["target_encoder.norm.bias"] += 1
    torch.save(state, tmp_path / "collapsed.pt")
    return tmp_path / "collapsed.pt"


def test_a_collapsed_encoder_comes_last(trained, collapsed, videos, tmp_path):
    found = health([collapsed, trained], videos, features_dir=tmp_path / "f", overrides=FAST)
    assert list(found) == [str(collapsed), str(trained)]
    assert found[str(collapsed)].relative_std < 0.01 < found[str(trained)].relative_std
    shown = render(found)
    assert shown.renderables[1].startswith(f"healthiest first: {trained}")
    assert found[str(trained)].views == 4 and found[str(trained)].clips == 24


def test_features_are_kept(trained, videos, tmp_path, monkeypatch):
    health([trained], videos, features_dir=tmp_path / "f", overrides=FAST)
    monkeypatch.setattr(extraction, "compute_features", lambda *a, **k: pytest.fail("computed again"))
    health([trained], videos, features_dir=tmp_path / "f", overrides=FAST)


def test_views_of_one_video_stand_side_by_side(trained, videos, tmp_path):
    health([trained], videos, views=2, pooling="mean", features_dir=tmp_path / "f", overrides=FAST)
    store = FeatureStore.open(next((tmp_path / "f").iterdir()))
    views = by_view(store, "mean", 2)
    assert np.array_equal(views[3, 1].numpy(), store.array("mean")[np.array([7])][0])
    assert store.clips()[6:8]["entry"].tolist() == [3, 3]


def test_wrong_requests_are_answered(trained, videos, tmp_path):
    with pytest.raises(DataError, match="20 clips are asked for, but there are 16 frames"):
        health([trained], videos, views=20, features_dir=tmp_path / "f", overrides=FAST)
    (tmp_path / "images").mkdir()
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    with pytest.raises(ConfigError, match="views are clips of one video, so give videos"):
        health([trained], tmp_path / "images", features_dir=tmp_path / "f")
