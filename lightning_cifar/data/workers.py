"""Many image files to one array, on all cores.

Threads gain nothing here (Pillow holds the interpreter's lock for most of a small file), a forked child of a
process with torch's threads may hang, and a spawned one imports the whole program again: so each worker is a
small program of its own, fed through a pipe, whose images land in place in one array.
"""

import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lightning_cifar.data import decode

_BLOCK = 256  # files per request
_WORTH_A_WORKER = 1000  # files; a worker takes about 0.2 s to start


def read_all(
    paths: Sequence[str], advance: Callable[[int], None] = lambda count: None
) -> tuple[NDArray[np.uint8], decode.Found]:
    """Read images into one array, held once in memory.

    Args:
        paths: the files, in the order of the result.
        advance: called with the number of files read since the last call, from any thread.

    Returns:
        uint8 (N, 32, 32, 3), and how many had which other size, or were none, in order.

    Raises:
        RuntimeError: a worker ended unexpectedly, for instance for want of memory.
    """
    images = np.empty((len(paths), decode.SIZE, decode.SIZE, 3), np.uint8)
    found = decode.Found(Counter(), [])
    blocks = iter(range(0, len(paths), _BLOCK))
    lock = threading.Lock()  # guards `blocks` and `found`

    def work(read_block: Callable[[slice], decode.Found]) -> None:
        while (start := take()) is not None:
            block = slice(start, min(start + _BLOCK, len(paths)))
            try:
                here = read_block(block)
            except BaseException:
                stop()
                raise
            with lock:
                found.other_sizes.update(here.other_sizes)
                found.unreadable.extend(here.unreadable)
            advance(block.stop - block.start)

    def take() -> int | None:
        with lock:
            return next(blocks, None)

    def stop() -> None:
        nonlocal blocks
        with lock:
            blocks = iter(range(0))

    count = min(_cores(), len(paths) // _WORTH_A_WORKER)
    if count == 0:
        work(lambda block: decode.read_images(paths[block], images[block]))
        return images, found

    workers: list[subprocess.Popen[bytes]] = []
    threads = ThreadPoolExecutor(count)
    try:
        workers.extend(_start() for _ in range(count))
        for _ in threads.map(lambda worker: work(lambda block: _ask(worker, paths[block], images[block])), workers):
            pass
    finally:
        stop()  # whatever went wrong: without their workers and with nothing left to take, the threads end
        for worker in workers:
            worker.kill()
        threads.shutdown()
        for worker in workers:
            with worker:  # closes its pipes and waits for it
                pass
    found.unreadable.sort()  # the workers' blocks come as they are read
    return images, found


def _cores() -> int:
    """The cores this process may use, which a job's scheduler may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start() -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", str(decode.__file__)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _ask(worker: "subprocess.Popen[bytes]", paths: Sequence[str], out: NDArray[np.uint8]) -> decode.Found:
    requests, answers = _pipes(worker)
    try:
        requests.write(json.dumps(paths).encode() + b"\n")
        requests.flush()
        answer = json.loads(answers.readline() or b"[]")
        complete = answer and answers.readinto(out.reshape(-1).data) == out.nbytes
    except BrokenPipeError:
        complete = False
    if not complete:
        raise RuntimeError(f"a process that decodes images ended unexpectedly (exit code {worker.wait()})")
    other_sizes, unreadable = answer
    return decode.Found(Counter(other_sizes), [(path, reason) for path, reason in unreadable])


def _pipes(worker: "subprocess.Popen[bytes]") -> tuple[IO[bytes], io.BufferedReader]:
    assert worker.stdin is not None
    assert isinstance(worker.stdout, io.BufferedReader)
    return worker.stdin, worker.stdout
