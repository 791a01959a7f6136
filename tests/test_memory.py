"""Memory that a step has freed serves the next step."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from lightning_cifar import CIFAR10Classifier

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(100_000_000)  # 400 MB, written and freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {keep}:
    CIFAR10Classifier().setup("fit")
faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="is for glibc")
def test_freed_memory_is_used_again_without_asking_the_system():
    kept, given_back = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS.format(keep=keep)], text=True).split()[-1])
        for keep in (True, False)
    )
    assert kept < 1000  # pages
    assert given_back > 10 * kept
