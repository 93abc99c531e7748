from dataclasses import replace

import numpy as np
import pytest

from jepa.config.trajectories import StoreSource
from jepa.data.trajectories.episodes import held_out, open_episodes
from jepa.errors import DataError
from tests.data.trajectories.numbered import numbered


def names(episodes):
    return [episode.name.rpartition("/")[2] for episode in episodes]


def test_all_episodes_are_given_once(write_store):
    sources = [write_store([numbered(k, 5) for k in range(12)], "a"), write_store([numbered(0, 5)], "b")]
    opened = open_episodes(sources, test_fraction=0.3)
    assert len(opened.train) + len(opened.test) == 13
    both = [episode.name for episode in (*opened.train, *opened.test)]
    assert len(set(both)) == 13  # unique over sources, though two episodes have the same file name
    assert opened.action_size == 2
    assert (opened.bad, opened.missing) == ((), ())


def test_the_split_does_not_depend_on_the_place(write_store):
    episodes = [numbered(k, 5) for k in range(20)]
    here, there = write_store(episodes, "here"), write_store(episodes, "there")
    split = [names(open_episodes([source], test_fraction=0.3).test) for source in (here, there)]
    assert split[0] == split[1]


def test_more_episodes_move_none(write_store):
    source = write_store([numbered(k, 5) for k in range(40)])
    few = open_episodes([source.model_copy(update={"episodes": 25})], test_fraction=0.3)
    many = open_episodes([source], test_fraction=0.3)
    assert set(names(few.test)) < set(names(many.test))
    assert set(names(few.train)) < set(names(many.train))


def test_a_larger_fraction_holds_more():
    given = [f"episode-{k:06d}" for k in range(2000)]
    few, many = held_out(given, 0.1), held_out(given, 0.4)
    assert few < many
    assert abs(len(few) / 2000 - 0.1) < 0.02 and abs(len(many) / 2000 - 0.4) < 0.03


@pytest.mark.parametrize(
    ("count", "fraction", "held"), [(5, 0.0, 0), (1, 0.5, 0), (2, 0.001, 1), (3, 0.9999, 2)]
)
def test_both_parts_have_an_episode_where_there_are_two(count, fraction, held):
    assert len(held_out([f"e{k}" for k in range(count)], fraction)) == held


def test_the_split_is_this_one():
    """Fixed: a program that moved an episode to the test would judge older models on what they learned from."""
    held = held_out([f"episode-{k:06d}" for k in range(30)], 0.2)
    assert sorted(int(name[-6:]) for name in held) == [0, 4, 5, 6, 9, 10, 11, 19]


def test_action_sizes_must_agree_between_sources(write_store):
    wide = replace(numbered(0, 5), actions=np.zeros((5, 3), np.float32))
    sources = [write_store([numbered(0, 5)], "two"), write_store([wide], "three")]
    with pytest.raises(DataError, match="three has actions of 3 numbers, .*two of 2"):
        open_episodes(sources)


def test_action_sizes_must_agree_within_a_source(write_store):
    wide = replace(numbered(1, 5), actions=np.zeros((5, 3), np.float32))
    with pytest.raises(DataError, match="episode-000001: action of 3 numbers, episode-000000: of 2"):
        open_episodes([write_store([numbered(0, 5), wide])])


def test_lengths_are_named(write_store, tmp_path):
    source = write_store([numbered(0, 5)])
    short = numbered(1, 5)
    np.savez(
        tmp_path / "store" / "episode-000001.npz",
        frames=short.frames[np.arange(6)],
        actions=short.actions[:3],
    )
    with pytest.raises(DataError, match="episode-000001: 6 frames and 3 actions"):
        open_episodes([source])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_named(write_store, value):
    wrong = numbered(0, 5)
    wrong.actions[3, 1] = value
    with pytest.raises(
        DataError, match=r"episode-000000: the action of step 3 is \[0.0, (nan|inf)\] \(1 of 5"
    ):
        open_episodes([write_store([wrong])])


def test_proprioception_is_checked(write_store):
    wrong = numbered(0, 5)
    wrong.proprio[2, 0] = np.nan
    with pytest.raises(DataError, match="the proprioception of step 2"):
        open_episodes([write_store([wrong], "nan")])
    short = replace(numbered(0, 5), proprio=np.zeros((4, 3), np.float32))
    with pytest.raises(DataError, match="6 frames and 4 rows of proprioception"):
        open_episodes([write_store([short], "short")])


def test_proprioception_that_is_asked_for_must_be_there(write_store):
    source = write_store([numbered(0, 5), replace(numbered(1, 5), proprio=None)])
    assert len(open_episodes([source]).train) == 2
    with pytest.raises(DataError, match="episode-000001: has no proprioception; set proprio: false"):
        open_episodes([source], proprio=True)


def test_proprioception_sizes_must_agree(write_store):
    other = replace(numbered(0, 5), proprio=np.zeros((6, 2), np.float32))
    sources = [write_store([numbered(0, 5)], "a"), write_store([other], "b")]
    assert len(open_episodes(sources).train) == 2
    with pytest.raises(DataError, match="b has proprioception of 2 numbers, .*a of 3"):
        open_episodes(sources, proprio=True)


def test_the_problems_of_all_sources_come_together(write_store):
    wrong = numbered(0, 5)
    wrong.actions[:] = np.nan
    sources = [write_store([wrong], "a"), StoreSource(kind="store", path="nowhere")]
    with pytest.raises(DataError) as raised:
        open_episodes(sources)
    assert "not finite" in str(raised.value) and "nowhere is no store" in str(raised.value)


def test_a_source_of_which_nothing_can_be_read_is_refused(write_store, tmp_path):
    source = write_store([numbered(0, 5)])
    (tmp_path / "store" / "episode-000000.npz").write_bytes(b"x")
    with pytest.raises(DataError, match="no episode can be read"):
        open_episodes([source])


def test_a_long_list_of_problems_is_cut(write_store):
    wrong = [replace(numbered(k, 5), actions=np.full((5, 2), np.nan, np.float32)) for k in range(15)]
    with pytest.raises(DataError, match=r"15 problems:(.|\n)*and 5 more"):
        open_episodes([write_store(wrong)])
