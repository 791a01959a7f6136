"""Threads that log at once, a fork in the midst of it and a spawned process: every value arrives once."""

import os
import subprocess
import sys

from tests.azure.conftest import FAKE, REPOSITORY
from tests.deadline import deadline

THREADS, STEPS = 32, 1000
SCRIPT = f"""
import multiprocessing, os, threading
from lightning_cifar import AzureMLLogger
from lightning_cifar.azure import process

process.RELAY = "tests.azure.quick_relay"

def log(logger, name):
    for step in range({STEPS}):
        logger.log_metrics({{name: float(step)}}, step)

def child(logger, name):
    log(logger, name)
    logger.finalize("success")

if __name__ == "__main__":
    logger = AzureMLLogger(backend={FAKE!r}, timeout=600.0)
    threads = [threading.Thread(target=log, args=(logger, f"t{{number}}")) for number in range({THREADS})]
    for thread in threads:
        thread.start()
    forked = os.fork()
    if forked == 0:
        child(logger, "forked")
        os._exit(0)
    spawned = multiprocessing.get_context("spawn").Process(target=child, args=(logger, "spawned"))
    spawned.start()
    for thread in threads:
        thread.join()
    assert os.waitpid(forked, 0)[1] == 0
    spawned.join()
    assert spawned.exitcode == 0
    logger.finalize("success")
"""


def test_what_threads_and_processes_log_at_once_is_exact(fake, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=deadline(100))
    assert done.returncode == 0, done.stderr
    names = [*(f"t{number}" for number in range(THREADS)), "forked", "spawned"]
    assert fake.points() == sorted((name, step, float(step)) for name in names for step in range(STEPS))
