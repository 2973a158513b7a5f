"""The table of a run."""

from pathlib import Path

from simkit.training.log import Log, read_log


def test_rows_and_late_columns(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.csv")
    log.append({"epoch": 1, "train_loss": 0.1})
    log.append({"epoch": 2, "train_loss": 1 / 3, "validation_loss": 2.0})
    log.close()
    assert (tmp_path / "log.csv").read_text().splitlines()[:2] == ["epoch,train_loss,validation_loss", "1,0.1,"]
    assert read_log(tmp_path / "log.csv")[1] == {"epoch": 2, "train_loss": 1 / 3, "validation_loss": 2.0}


def test_rows_of_an_interrupted_run_are_made_again(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.csv")
    for epoch in (1, 2, 3):
        log.append({"epoch": epoch, "train_loss": 1.0})
    log.close()
    again = Log(tmp_path / "log.csv")
    again.keep_before(3)
    again.append({"epoch": 3, "train_loss": 5.0})
    again.close()
    assert [row["train_loss"] for row in read_log(tmp_path / "log.csv")] == [1.0, 1.0, 5.0]
