"""A CSV logger that continues the file of a run that is continued."""

from __future__ import annotations

import csv
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment

from ffrecur.files import replacing


class ContinuedWriter(ExperimentWriter):
    """Lightning's writer, which would delete an earlier metrics.csv: this one keeps its rows, or those before `first_step`.

    What comes after the checkpoint that a run goes on from is logged once more. The file is written whole.
    """

    def __init__(self, log_dir: str, first_step: int | None) -> None:
        self.earlier: list[dict[str, str]] = []
        self.first_step = first_step
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        if Path(self.metrics_file_path).is_file():
            with Path(self.metrics_file_path).open(newline="") as file:
                rows = csv.DictReader(file)
                self.earlier = [row for row in rows if self.first_step is None or int(row["step"]) < self.first_step]
                self.metrics_keys = list(rows.fieldnames or [])

    def save(self) -> None:
        """Write all rows, those of earlier parts of the run first."""
        if not self.metrics:
            return
        self._record_new_keys()
        with replacing(self.metrics_file_path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows([*self.earlier, *self.metrics])


class ContinuedCSVLogger(CSVLogger):
    """Writes `metrics.csv` into a run folder, at once; a run that is continued from `first_step` adds to what is there."""

    def __init__(self, folder: str | Path, first_step: int | None = None) -> None:
        super().__init__(
            save_dir=str(Path(folder).parent), name=Path(folder).name, version="", flush_logs_every_n_steps=1
        )
        self.first_step = first_step

    @property
    @rank_zero_experiment
    def experiment(self) -> ContinuedWriter:
        """Return the writer; made when it is first used. Processes but the first get one that does nothing."""
        if self._experiment is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = ContinuedWriter(self.log_dir, self.first_step)
        assert isinstance(self._experiment, ContinuedWriter)
        return self._experiment
