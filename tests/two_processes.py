"""Run by tests, twice at once: commands of `ffrecur`, one after another, by two processes.

python two_processes.py JSON, a list of argument lists. After command number i process r leaves the net that was trained as
i-r.pt, and in i-r.txt of what type its images were; as its last line it prints the exit codes, a JSON list.
"""

import json
import sys
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only
from running import drafts

from ffrecur.commands import train as cli
from ffrecur.data import ImageDataModule

codes: list[int] = []
say_what_comes_next = cli.CommandLine.after_fit


def after_fit(self):
    place = f"{len(codes)}-{rank_zero_only.rank}"
    torch.save(self.model.net.state_dict(), f"{place}.pt")
    if isinstance(self.datamodule, ImageDataModule):
        Path(f"{place}.txt").write_text(type(self.datamodule.train_set.images).__name__)
    say_what_comes_next(self)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cli.CommandLine.after_fit = after_fit  # type: ignore[method-assign]
    with drafts():
        for command in json.loads(sys.argv[1]):
            codes.append(cli.main(command))  # noqa: PERF401  # their number counts meanwhile
    print(json.dumps(codes), flush=True)
