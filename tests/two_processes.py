"""Run by test_processes.py, twice at once: commands of `ffrecur`, one after another, by two processes.

python two_processes.py JSON, a list of argument lists. Each process prints the exit codes, a JSON list, as its last line.
"""

import json
import sys

import torch

from ffrecur.cli import main

torch.set_num_threads(1)
print(json.dumps([main(command) for command in json.loads(sys.argv[1])]), flush=True)
