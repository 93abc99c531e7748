"""The index of a file and its packets must tell the same times."""

import numpy as np
import pytest

from jepa.data.pyav import open_stream
from jepa.data.timetable import timetable_from_index, timetable_from_packets


@pytest.mark.parametrize("options", [{"g": "6", "bf": "3"}, {"g": "4", "bf": "0"}])
def test_index_and_packets_agree(tmp_path, write_video, options):
    path = str(write_video(tmp_path / "a.mp4", options=options))
    container, stream = open_stream(path)
    indexed = timetable_from_index(container, stream)
    read = timetable_from_packets(container, stream)
    container.close()
    assert indexed is not None
    np.testing.assert_array_equal(indexed.ticks, read.ticks)
    assert set(indexed.keys) <= set(indexed.ticks)
    assert indexed.seconds_per_tick == read.seconds_per_tick


def test_index_of_a_variable_rate_is_not_trusted(tmp_path, write_video):
    path = str(write_video(tmp_path / "a.mp4", frames=6, ticks=[0, 40, 80, 300, 310, 900]))
    container, stream = open_stream(path)
    assert timetable_from_index(container, stream) is None
    np.testing.assert_allclose(
        timetable_from_packets(container, stream).times,
        np.array([0, 40, 80, 300, 310, 900]) / 1000,
        atol=1e-3,
    )
    container.close()


def test_container_without_index_or_frame_count(tmp_path, write_video):
    path = str(write_video(tmp_path / "a.mkv", frames=11))
    container, stream = open_stream(path)
    assert stream.frames == 0
    assert timetable_from_index(container, stream) is None
    assert len(timetable_from_packets(container, stream).ticks) == 11
    container.close()
