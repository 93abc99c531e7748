"""The lawful world keeps its laws, and a set of it is drawn from the seed alone."""

import numpy as np
import pytest

from jepa.config.data import PhysicsSource
from jepa.data.generated import ensure_generated
from jepa.data.physics import (
    KINDS,
    REACH,
    TESTING,
    TRAINING,
    Body,
    Look,
    Stage,
    draw_scene,
    fold,
    render,
    write_physics,
)
from jepa.data.sources import open_source
from jepa.errors import DataError

FRAMES = 24


def scenes(part=TESTING, *, numbers=range(12), seed=3):
    for kind in KINDS:
        for number in numbers:
            yield draw_scene(kind, number, part=part, seed=seed, frames=FRAMES)


def thrown_back(start, velocity, low, high, frames):
    """A path, step by tiny step."""
    parts, place, path = 1000, start, []
    for _ in range(frames):
        path.append(place)
        for _ in range(parts):
            place += velocity / parts
            if not low <= place <= high:
                velocity, place = -velocity, min(max(place, low), high)
    return np.array(path)


@pytest.mark.parametrize(("start", "velocity"), [(0.3, 0.06), (0.5, -0.05), (0.11, -0.2)])
def test_paths_are_thrown_back_elastically(start, velocity):
    folded = fold(start + velocity * np.arange(40.0), 0.1, 0.8)
    np.testing.assert_allclose(
        folded, thrown_back(start, velocity, 0.1, 0.8, 40), atol=5e-3
    )  # steps are coarse


@pytest.mark.parametrize("part", [TRAINING, TESTING])
def test_bodies_keep_speed_and_bounds(part):
    for scene in scenes(part):
        for stage, bodies in zip(scene.stages, scene.bodies, strict=True):
            for body in bodies:
                reach = REACH * body.look.radius
                right = stage.wall[0] if stage.wall else 1.0
                assert (body.x >= reach - 1e-9).all() and (body.x <= right - reach + 1e-9).all()
                assert (body.y >= reach - 1e-9).all() and (body.y <= 1 - reach + 1e-9).all()
                steps = np.abs(np.diff(body.x))
                assert (steps <= 0.065 + 1e-9).all()  # nothing jumps, not even where it is hidden
                turns = steps < steps.max() - 1e-9
                assert turns.sum() <= 4  # one frame each at a border, where it goes there and back


def test_bodies_never_touch():
    for scene in scenes(numbers=range(40)):
        for bodies in scene.bodies:
            if len(bodies) == 2:
                apart = np.abs(bodies[0].y - bodies[1].y)
                assert (apart > REACH * (bodies[0].look.radius + bodies[1].look.radius)).all()


def test_stories_look_alike_at_the_branch():
    """What is swapped is hidden, or in contact: the frame itself does not show which story it is from."""
    for scene in scenes():
        images = [
            render(scene.stages[0], bodies, frames=FRAMES, size=64)[scene.branch] for bodies in scene.bodies
        ]
        np.testing.assert_array_equal(*images)


def test_an_impossible_video_begins_with_one_story_and_ends_with_the_other():
    for scene in scenes(numbers=range(2)):
        if scene.kind != "pass":  # there the wall stays
            one, other = (scene.possible(story, size=32) for story in (0, 1))
            mixed = np.concatenate([one[: scene.branch], other[scene.branch :]])
            np.testing.assert_array_equal(scene.impossible(0, size=32), mixed)


def test_walls_are_passed_in_impossible_videos_alone():
    for number in range(8):
        scene = draw_scene("pass", number, part=TESTING, seed=0, frames=FRAMES)
        wall = scene.stages[0].wall
        reach = REACH * scene.bodies[0][0].look.radius
        assert scene.stages[1].wall is None
        assert (scene.bodies[0][0].x <= wall[0] - reach + 1e-9).all()
        assert (scene.bodies[1][0].x > wall[0]).any()


def test_occluders_hide_bodies_and_bodies_hide_walls():
    body = Body(Look("disc", 0, 0.2), np.full(1, 0.5), np.full(1, 0.5))
    wall, occluder = (0.4, 0.45), (0.5, 0.7)

    def middle_row(*bodies, **bars):
        return render(Stage(**bars), bodies, frames=1, size=64)[0, 32]

    everything = middle_row(body, wall=wall, occluder=occluder).astype(int)
    np.testing.assert_allclose(everything[33:44], middle_row(occluder=occluder)[33:44], atol=1)
    np.testing.assert_allclose(everything[20:31], middle_row(body)[20:31], atol=1)
    assert (middle_row(body)[20:31] != middle_row()[20:31]).any(axis=1).all()
    assert (middle_row(wall=wall)[26:28] != middle_row()[26:28]).any(axis=1).all()


def test_parts_and_seeds_share_no_scene():
    def first(**changes):
        return draw_scene("vanish", 0, **{"part": TRAINING, "seed": 0, "frames": FRAMES} | changes)

    speeds = {
        float(np.abs(np.diff(scene.bodies[0][0].x)).max())
        for scene in (first(), first(seed=1), first(part=TESTING), first(part=TESTING, seed=1))
    }
    assert len(speeds) == 4
    np.testing.assert_array_equal(first().possible(0, size=32), first().possible(0, size=32))


def test_training_videos_are_possible(tmp_path, monkeypatch):
    """Every video of a training set is one of the two lawful stories of a training scene of its own."""
    written = []
    monkeypatch.setattr("jepa.data.physics.write_mp4", lambda path, frames, fps: written.append(frames))
    listed = write_physics(tmp_path, count=16, seed=5, frames=16, size=32, fps=8)
    assert listed.read_text().split() == [f"{i:06d}.mp4" for i in range(16)]
    seen = set()
    for index, frames in enumerate(written):
        kind, number = KINDS[index % 4], index // 4
        scene = draw_scene(kind, number, part=TRAINING, seed=5, frames=16)
        (story,) = [s for s in (0, 1) if (scene.possible(s, size=32) == frames).all()]
        assert not (scene.impossible(story, size=32) == frames).all()
        seen.add((kind, story))
    assert len(seen) == 8


@pytest.mark.parametrize("wrong", [{"count": 0}, {"frames": 15}, {"size": 14}, {"size": 33}])
def test_numbers_out_of_range(tmp_path, wrong):
    with pytest.raises(DataError, match="must be at least 1, frames at least 16, and size even"):
        write_physics(tmp_path, **{"count": 4, "seed": 0, "frames": 16, "size": 32, "fps": 8} | wrong)


def test_a_source_writes_its_set_once(tmp_path):
    config = PhysicsSource(kind="physics", path=str(tmp_path / "set"), videos=4, frames=16, size_px=16)
    opened = open_source(config)
    assert (len(opened.entries), opened.classes, opened.modality) == (4, (), "video")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "set").iterdir()}
    ensure_generated(config)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "set").iterdir()} == before
    with pytest.raises(
        DataError, match=r"holds another set .*videos 4; wanted videos 8.*choose another path"
    ):
        ensure_generated(config.model_copy(update={"videos": 8}))
