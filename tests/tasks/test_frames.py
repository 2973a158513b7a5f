import pytest
from ase import Atoms
from ase.io import write

from simkit.errors import DataError
from simkit.tasks import frames
from simkit.tasks.frames import read_frame


@pytest.fixture
def trajectory(tmp_path):
    path = tmp_path / "five.xyz"
    write(path, [Atoms("H", [[float(index), 0, 0]]) for index in range(5)])
    return path


@pytest.mark.parametrize("index", [0, 2, 4, -1, -2, -5])
def test_one_frame(trajectory, index):
    assert read_frame(trajectory, index).positions[0, 0] == range(5)[index]


@pytest.mark.parametrize("index", [5, -6])
def test_a_frame_that_is_not_there(trajectory, index):
    with pytest.raises(DataError, match=f"expected a frame from 0 to 4, or from -5 to -1; found {index}"):
        read_frame(trajectory, index)


def test_frames_after_the_chosen_one_are_not_read(trajectory, monkeypatch):
    monkeypatch.setattr(frames, "read_frames", lambda path: iter([Atoms("H"), Atoms("He")] + [None] * 3))
    assert str(read_frame(trajectory, 1).symbols) == "He"
