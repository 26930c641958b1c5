"""A CSV logger that continues the file of a run that is continued."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment

from ffrecur.errors import UserError, one_line
from ffrecur.storage.files import replacing


class ContinuedWriter(ExperimentWriter):
    """Lightning's writer, which would delete an earlier metrics.csv: this one keeps its rows, or those before `first_step`.

    What comes after the checkpoint that a run goes on from is logged once more. Rows are added at the end of the file,
    whole or not at all; for the first row and for new columns it is written anew. `most` is how many rows are kept at most:
    an epoch that was left amid its batches has logged some that come again.
    """

    most: int | None = None

    def __init__(self, log_dir: str, first_step: int | None) -> None:
        self.first_step = first_step
        self.opened = False  # whether a row has been written
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        self.metrics_keys = [key for row in self.rows()[:1] for key in row]

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of the file that are kept; raises `UserError` for a file that is not what this class writes."""
        path = Path(self.metrics_file_path)
        if not path.exists():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = [
                    row for row in csv.DictReader(file) if self.first_step is None or int(row["step"]) < self.first_step
                ]
        except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
            raise UserError(
                f"'{path}' has been changed, so that the figures of this run cannot be read from it ({type(error).__name__}: "
                f"{one_line(error)}); move it away"
            ) from error
        return rows[: self.most]

    def save(self) -> None:
        """Write what has been logged since the last time."""
        if not self.metrics:
            return
        if self._record_new_keys() or not self.opened:
            rows = self.rows()
            with (
                replacing(self.metrics_file_path) as temporary,
                temporary.open("w", newline="", encoding="utf-8") as file,
            ):
                writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
                writer.writeheader()
                writer.writerows([*rows, *self.metrics])
            self.opened, self.first_step, self.most = True, None, None
        else:
            self.append()
        self.metrics = []

    def append(self) -> None:
        """Add rows at the end; if the disk takes a part of them only, take that back and raise its error."""
        path = Path(self.metrics_file_path)
        size = path.stat().st_size
        try:
            with path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, fieldnames=self.metrics_keys).writerows(self.metrics)
        except OSError:
            with path.open("r+") as file:
                file.truncate(size)
            raise


class ContinuedCSVLogger(CSVLogger):
    """Writes `metrics.csv` into a run folder, at once; a run that is continued from `first_step` adds to what is there."""

    def __init__(self, folder: str | Path, first_step: int | None = None) -> None:
        super().__init__(
            save_dir=str(Path(folder).parent), name=Path(folder).name, version="", flush_logs_every_n_steps=1
        )
        self.first_step = first_step

    def lacks(self, step: int, figures: Mapping[str, float]) -> bool:
        """Whether there are figures, and no row of this step has the last of them."""
        return bool(figures) and not any(
            int(row["step"]) == step and row.get([*figures][-1]) for row in self.experiment.rows()
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> ContinuedWriter:
        """Return the writer; made when it is first used. Processes but the first get one that does nothing."""
        if self._experiment is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = ContinuedWriter(self.log_dir, self.first_step)
        assert isinstance(self._experiment, ContinuedWriter)
        return self._experiment
