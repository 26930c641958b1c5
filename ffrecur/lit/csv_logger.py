"""A CSV logger that continues the file of a run that is continued."""

from __future__ import annotations

import csv
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment


class ContinuedWriter(ExperimentWriter):
    """Lightning's writer, which would delete an earlier metrics.csv: this one appends to it."""

    def _check_log_dir_exists(self) -> None:
        if Path(self.metrics_file_path).is_file():
            with Path(self.metrics_file_path).open(newline="") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])


class ContinuedCSVLogger(CSVLogger):
    """Write `metrics.csv` into a run folder; a continued run appends to what is there."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(save_dir=str(Path(folder).parent), name=Path(folder).name, version="")

    @property
    @rank_zero_experiment
    def experiment(self) -> ContinuedWriter:
        """Return the writer; made when it is first used. Processes but the first get one that does nothing."""
        if self._experiment is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = ContinuedWriter(log_dir=self.log_dir)
        assert isinstance(self._experiment, ContinuedWriter)
        return self._experiment
