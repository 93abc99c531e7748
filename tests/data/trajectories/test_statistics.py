from dataclasses import replace

import numpy as np
import pytest

from jepa.data.trajectories.statistics import action_statistics, proprio_statistics
from jepa.errors import DataError
from tests.data.trajectories.numbered import numbered


def test_all_steps_count_alike():
    draws = np.random.default_rng(0)
    episodes = [
        replace(numbered(0, n), actions=draws.normal(3, 2, (n, 2)).astype(np.float32)) for n in (5, 50)
    ]
    values = np.concatenate([episode.actions for episode in episodes])
    found = action_statistics(episodes)
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.std, values.std(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(found.low, values.min(axis=0))
    np.testing.assert_array_equal(found.high, values.max(axis=0))
    assert found.mean.dtype == found.std.dtype == found.low.dtype == np.float32


def test_a_constant_number_has_deviation_one():
    actions = np.tile(np.float32([[1e4 + 1 / 3, 0.0]]), (100, 1))
    np.testing.assert_array_equal(action_statistics([replace(numbered(0, 100), actions=actions)]).std, [1, 1])


def test_a_small_deviation_is_kept():
    actions = np.float32([[1e-4], [-1e-4]] * 50)
    np.testing.assert_allclose(action_statistics([replace(numbered(0, 100), actions=actions)]).std, [1e-4])


def test_large_numbers_do_not_lose_their_deviation():
    t = np.arange(100_000, dtype=np.float32)
    actions = np.stack([1e4 + t % 2, t % 2], axis=1).astype(np.float32)
    found = action_statistics([replace(numbered(0, 100), actions=actions)])
    np.testing.assert_allclose(found.mean, [1e4 + 0.5, 0.5], rtol=1e-7)
    np.testing.assert_allclose(found.std, [0.5, 0.5], rtol=1e-6)


def test_proprioception_is_measured_over_all_frames():
    found = proprio_statistics([numbered(0, 4), numbered(1, 4)])
    np.testing.assert_allclose(found.mean, [0.5, 2, 1])
    np.testing.assert_array_equal(found.high, [1, 4, 2])


def test_what_is_not_there_cannot_be_measured():
    with pytest.raises(DataError, match="episode-000001 has no proprioception"):
        proprio_statistics([numbered(0, 4), replace(numbered(1, 4), proprio=None)])
    with pytest.raises(DataError, match="no step to measure"):
        action_statistics([])
