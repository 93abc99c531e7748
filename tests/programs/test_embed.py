"""Features are computed once, survive an interruption, and are never mistaken for others."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from jepa.config.load import parse
from jepa.config.probe import EmbedConfig
from jepa.data.evaluation import Cut
from jepa.data.feature_store import FeatureStore
from jepa.data.sources import open_source
from jepa.errors import ConfigError, DataError
from jepa.models.zoo import load_encoder, load_frozen
from jepa.probes import features as reading
from jepa.programs import extraction, requests
from jepa.programs.embed import embed
from jepa.programs.extraction import find_features
from jepa.programs.naming import source_named
from jepa.programs.requests import Contents, encoder_request
from jepa.runtime.checkpoint import find_checkpoint
from jepa.runtime.terminal import Progress

FAST = ["clips.workers=0", "clips.batch_size=4"]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(requests, "SHARD_ENTRIES", 8)
    monkeypatch.setattr(requests, "TOKEN_SHARD_ENTRIES", 8)


def test_features_are_those_of_the_encoder(trained, videos, tmp_path, small_shards):
    result = embed(trained, videos / "motion.csv", tmp_path / "f", tokens=True, overrides=FAST)
    assert (result.status, result.clips, result.shards) == ("done", 24, 3)
    encoder = load_encoder(trained, device="cpu")
    from jepa.data.decode import open_video

    with open_video(str(videos / "000017.mp4"), "pyav") as video:
        clip = encoder.preprocess(video.read([6, 7, 8, 9]))
    with torch.inference_mode():
        wanted = encoder(clip)[0]
    tokens = result.store.array("tokens")[np.array([17])][0]
    torch.testing.assert_close(torch.from_numpy(tokens), wanted, atol=1e-5, rtol=1e-4)
    mean = result.store.array("mean")[np.array([17])][0]
    torch.testing.assert_close(torch.from_numpy(mean), wanted.mean(0), atol=1e-5, rtol=1e-4)


def test_clips_and_views_are_rows_of_their_own(trained, videos, tmp_path):
    result = embed(
        trained, videos, tmp_path / "f", overrides=[*FAST, "clips.clips_per_video=2", "clips.views=3"]
    )
    clips = result.store.clips()
    assert result.clips == 24 * 6
    assert clips[:6]["entry"].tolist() == [0] * 6 and clips[:6]["clip"].tolist() == [0, 0, 0, 1, 1, 1]
    assert clips[:6]["view"].tolist() == [0, 1, 2, 0, 1, 2] and clips[0]["start_s"] < clips[3]["start_s"]


def test_what_is_there_is_not_computed_again(trained, videos, tmp_path, monkeypatch):
    first = embed(trained, videos, tmp_path / "f", overrides=FAST)
    monkeypatch.setattr(
        extraction,
        "labelled_clips",
        lambda *args, **kwargs: pytest.fail("read clips") if kwargs["entries"] else [],
    )
    assert embed(trained, videos, tmp_path / "f", overrides=FAST) == first


def test_an_interrupted_run_goes_on_and_ends_with_the_same_features(
    trained, videos, tmp_path, monkeypatch, small_shards, capsys
):
    whole = embed(trained, videos, tmp_path / "whole", overrides=FAST)
    write = FeatureStore.write

    def write_and_stop(self, shard, *rest):
        write(self, shard, *rest)
        if shard == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(FeatureStore, "write", write_and_stop)
    stopped = embed(trained, videos, tmp_path / "f", overrides=FAST)
    assert stopped.status == "interrupted"
    assert "features of 16 of 24 entries" in capsys.readouterr().err
    monkeypatch.setattr(FeatureStore, "write", write)
    read = []
    plain = reading.read_features
    monkeypatch.setattr(
        extraction, "read_features", lambda *a, **k: (read.append(b) or b for b in plain(*a, **k))
    )
    again = embed(trained, videos, tmp_path / "f", overrides=FAST)
    assert sum(len(batch.entries) for batch, _ in read) == 8
    for kind in again.kinds:
        assert np.array_equal(again.store.array(kind)[:], whole.store.array(kind)[:])
    assert np.array_equal(again.store.clips(), whole.store.clips())


def contents_of(folder):
    return Contents.of(open_source(source_named(str(folder))))


def request_of(model, *changes):
    config = parse({"model": str(model)}, EmbedConfig)
    from jepa.config.load import assemble
    from jepa.config.probe import read_config

    config = assemble({"model": str(model)}, changes, EmbedConfig)
    frozen = load_frozen(config.model, device="cpu", weights=config.weights)
    return encoder_request(config, frozen, frozen.networks, read_config(config.clips, frozen.read))


def test_the_fingerprint_changes_with_all_that_features_depend_on(trained, videos, held_out, tmp_path):
    source = contents_of(videos)
    plain = request_of(trained).fingerprint(source)
    assert request_of(trained, "clips.batch_size=3", "clips.workers=0").fingerprint(source) == plain
    changes = [
        "clips.stride=2",
        "clips.fps=4",
        "clips.frames_per_clip=8",
        "clips.resolution=24",
        "clips.clips_per_video=2",
        "clips.views=3",
        "clips.ahead_s=.5",
        "weights=encoder",
        "dtype=bfloat16",
        "feature_dtype=float16",
        "predict_steps=1",
        "predict_steps=2",
    ]
    names = [request_of(trained, change).fingerprint(source) for change in changes]
    names.append(request_of(trained).fingerprint(contents_of(held_out)))
    shutil.copytree(videos, tmp_path / "videos")  # the same names and sizes at another time
    other = tmp_path / "model.pt"
    state = torch.load(find_checkpoint(trained), weights_only=True)
    state["objective"]["target_encoder.norm.bias"][0] += 1e-6
    torch.save(state, other)
    names.append(request_of(other).fingerprint(source))
    assert len({plain, *names}) == len(names) + 1


def test_a_file_that_changed_is_embedded_again(trained, videos, tmp_path):
    copy = Path(shutil.copytree(videos, tmp_path / "videos"))
    request = request_of(trained)
    before = request.fingerprint(contents_of(copy))
    os.utime(copy / "000003.mp4", (1, 1))
    assert request.fingerprint(contents_of(copy)) != before


def test_of_two_folders_each_gets_what_it_lacks(trained, videos, tmp_path, monkeypatch, small_shards):
    embed(trained, videos, tmp_path / "first", overrides=FAST)
    shutil.rmtree(tmp_path / "first" / "shards" / "00001")
    write, written = FeatureStore.write, []

    def noted(self, shard, *rest):
        written.append((self.root.name, shard))
        write(self, shard, *rest)

    monkeypatch.setattr(FeatureStore, "write", noted)
    wanted = [
        (request_of(trained), tmp_path / "first"),
        (request_of(trained, "weights=encoder"), tmp_path / "second"),
    ]
    source = contents_of(videos)
    read = load_frozen(trained, device="cpu").read.model_copy(update={"workers": 0})
    extraction.compute_features(
        source, wanted, read, Cut(), device=torch.device("cpu"), progress=Progress(24)
    )
    assert written == [("second", 0), ("first", 1), ("second", 1), ("second", 2)]
    assert FeatureStore.open(tmp_path / "first").clips()["entry"].tolist() == list(range(24))


def test_another_model_does_not_reuse_the_folder(trained, videos, tmp_path):
    embed(trained, videos, tmp_path / "f", overrides=FAST)
    with pytest.raises(DataError, match="holds features of another model, other settings or other files"):
        embed(trained, videos, tmp_path / "f", overrides=[*FAST, "weights=encoder"])


def test_features_with_tokens_serve_where_pooled_ones_are_asked_for(trained, videos, tmp_path):
    request = request_of(trained)
    source = contents_of(videos)
    assert find_features(tmp_path, request, source) is None
    wide = request.folder(tmp_path, source).with_name(request.folder(tmp_path, source).name + "-tokens")
    embed(trained, videos, wide, tokens=True, overrides=FAST)
    assert find_features(tmp_path, request, source).root == wide


def test_bad_files_are_skipped_counted_and_limited(trained, videos, tmp_path):
    copy = Path(shutil.copytree(videos, tmp_path / "videos"))
    (copy / "000002.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 24 files cannot be read, the last .*000002.mp4"):
        embed(trained, copy, tmp_path / "f", overrides=FAST)
    result = embed(trained, copy, tmp_path / "f", overrides=[*FAST, "clips.max_bad_fraction=.1"])
    assert result.clips == 23 and 2 not in result.store.clips()["entry"]
    assert "000002.mp4" in (tmp_path / "f" / "bad_files.jsonl").read_text()


def test_an_encoder_that_gives_nan_is_refused(trained, videos, tmp_path):
    state = torch.load(find_checkpoint(trained), weights_only=True)
    state["objective"]["target_encoder.norm.bias"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(DataError, match=r"features \(mean\) of entries 0 to 23 are not finite as float32"):
        embed(tmp_path / "nan.pt", videos, tmp_path / "f", overrides=FAST)


def test_wrong_requests_are_answered(trained, videos, tmp_path):
    with pytest.raises(ConfigError, match=r"clips.stide: unknown key"):
        embed(trained, videos, tmp_path / "f", overrides=["clips.stide=2"])
    embed(trained, videos, tmp_path / "f", overrides=FAST)
    with pytest.raises(ConfigError, match="holds features already"):
        embed(trained, tmp_path / "f", tmp_path / "g")
    with pytest.raises(DataError, match="does not exist; give a folder"):
        embed(trained, tmp_path / "nowhere", tmp_path / "g")
