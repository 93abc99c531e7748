"""What a probe is to find out, by kind of task."""

import pytest
import torch

from jepa.config.data import FileSource
from jepa.data.sources import open_source
from jepa.data.truth import truth
from jepa.errors import DataError


@pytest.fixture
def opened(tmp_path):
    """Opens a list with the given header and lines; every file exists."""

    def make(text: str, **settings):
        for name in "abc":
            (tmp_path / f"{name}.mp4").touch()
        (tmp_path / "list.csv").write_text(text)
        return open_source(FileSource(kind="csv", path=str(tmp_path / "list.csv"), **settings))

    return make


def test_one_label_each(opened):
    source = opened("path,label\na.mp4,walk\nb.mp4,run\nc.mp4,walk")
    assert truth(source, "classes").tolist() == [1, 0, 1]


def test_a_source_without_labels_has_none(opened):
    assert truth(opened("path\na.mp4\nb.mp4"), "classes").tolist() == [-1, -1]


def test_several_labels_at_once(opened):
    source = opened("path,label\na.mp4,walk; talk\nb.mp4,run\nc.mp4,talk", separator=";")
    assert source.classes == ("run", "talk", "walk")
    assert truth(source, "labels").tolist() == [[0, 1, 1], [1, 0, 0], [0, 1, 0]]


def test_numbers(opened):
    source = opened("path,steering,speed\na.mp4,-.5,1\nb.mp4,.25,2", targets=("speed", "steering"))
    assert source.targets == ("speed", "steering")
    torch.testing.assert_close(truth(source, "values"), torch.tensor([[1, -0.5], [2, 0.25]]))


def test_every_kind_says_what_it_lacks(opened):
    plain = opened("path,label\na.mp4,walk\nb.mp4,run")
    with pytest.raises(DataError, match="no row has several labels; name their separator"):
        truth(plain, "labels")
    with pytest.raises(DataError, match="there are no numbers to predict; name the columns"):
        truth(plain, "values")
    several = opened("path,label\na.mp4,walk;talk\nb.mp4,run", separator=";")
    with pytest.raises(DataError, match="rows have several labels; set task to labels"):
        truth(several, "classes")


def test_a_target_must_be_a_finite_number(opened):
    with pytest.raises(DataError, match="line 3: a target must be a finite number, got 'nan'"):
        opened("path,speed\na.mp4,1\nb.mp4,nan", targets=("speed",))
    with pytest.raises(DataError, match="a target must be a finite number, got ''"):
        opened("path,speed\na.mp4", targets=("speed",))


def test_a_target_must_be_a_column(opened):
    with pytest.raises(DataError, match="there is no column 'sped'; the header names"):
        opened("path,speed\na.mp4,1", targets=("sped",))


def test_a_list_of_images_is_a_source_of_images(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "list.csv").write_text("a.png,cat")
    source = open_source(FileSource(kind="images", path=str(tmp_path / "list.csv")))
    assert source.modality == "image" and source.entries[0].label == 0
