import pytest

from simkit.errors import SimkitError
from simkit.growing import GrowingFile


def test_what_was_written_after_the_checkpoint_is_cut_off(tmp_path):
    with GrowingFile(tmp_path / "a.txt") as file:
        file.write("kept ")
        length = file.sync()
        file.write("lost")
    with GrowingFile(tmp_path / "a.txt", length) as file:
        file.write("new")
    assert (tmp_path / "a.txt").read_text() == "kept new"


def test_one_writer_at_a_time(tmp_path):
    with GrowingFile(tmp_path / "a.txt") as first:
        first.write("text")
        first.sync()
        with pytest.raises(SimkitError, match=r"another process writes .*a\.txt"):
            GrowingFile(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "text"


def test_a_file_that_lost_its_end_is_not_filled_with_zeros(tmp_path):
    (tmp_path / "a.txt").write_text("short")
    with pytest.raises(SimkitError, match=r"expected at least 100 bytes, .*found 5"):
        GrowingFile(tmp_path / "a.txt", 100)
    assert (tmp_path / "a.txt").read_text() == "short"
