"""What a command sets for its process."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from ffrecur.lit.run.process_state import keep_freed_memory
torch.set_num_threads(1)
if {keep}: assert keep_freed_memory()
for _ in range(3): torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are not told")
def test_memory_that_is_let_go_of_is_not_given_back_to_the_system():
    """Tensors of 40 MB, one after the other: the system clears the pages of each anew, or those of the first alone."""
    faults = [
        int(subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, check=True).stdout)
        for keep in (False, True)
    ]
    assert faults[0] >= 20 * 15  # with pages of 2 MiB; of 4 KiB there are 500 times as many
    assert faults[1] < faults[0] / 10
