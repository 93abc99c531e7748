"""The demo: everything under one folder, from generated files to a verdict; and, slowly, that it learns."""

from pathlib import Path

import pytest

from jepa.programs.demo import demo, demo_config

SMALL = [
    *(f"{place}.videos=48" for place in ("data.sources.0", "probes.0.train", "probes.1.train")),
    *(f"probes.{task}.test.videos=24" for task in (0, 1)),
    "optim.steps=4",
    "optim.warmup_steps=0",
    "log.knn_every_steps=4",
    "log.every_steps=2",
    "threads=1",  # as all tests
]


def test_everything_lies_under_the_given_folder(tmp_path: Path) -> None:
    config = demo_config(tmp_path, seed=3)
    paths = [config.run_dir, *(source.path for source in config.data.sources)]
    paths += [source.path for task in config.probes for source in (task.train, task.test)]
    assert all(Path(path).is_relative_to(tmp_path) for path in paths)
    assert (config.seed, config.run_dir) == (3, str(tmp_path / "run-seed3"))


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    odd = tmp_path / "1: [a], #b"
    assert demo_config(odd).run_dir == str(odd / "run-seed0")


def test_probes_are_fitted_on_training_videos_and_scored_on_others(tmp_path: Path) -> None:
    config = demo_config(tmp_path)
    for task in config.probes:
        assert (task.train.path, task.train.seed) == (
            config.data.sources[0].path,
            config.data.sources[0].seed,
        )
        assert task.test.path != task.train.path
        assert task.test.seed != task.train.seed


def test_a_short_demo_goes_all_the_way(tmp_path: Path) -> None:
    result = demo(tmp_path, overrides=SMALL)
    assert result.status == "done"
    assert set(result.summary["verdicts"]) == {"motion", "appearance"}
    assert (result.run_dir / "report.html").is_file()
    assert len(list((tmp_path / "videos" / "train").glob("*.mp4"))) == 48


@pytest.mark.slow
def test_the_demo_learns_motion(tmp_path: Path) -> None:
    """The promise of the README: pretrained at least 15 points above random init, and above raw pixels."""
    result = demo(tmp_path)
    motion = next(table for table in result.summary["probes"] if table["task"] == "motion")
    score = {row["name"]: row["accuracy"] for row in motion["rows"] if row["headline"]}
    assert score["pretrained"] >= score["random init"] + 0.15
    assert score["pretrained"] > score["raw pixels"]
