"""The progress bar, as a terminal is sent it."""

import os
import pty
import re
import subprocess
import sys

import pytest

from tests.deadline import deadline

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.timeout(deadline(60))
def test_the_tutorials_lines_stand_whole_above_the_bar(cli, images):
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "lightning_cifar", "fit", "--data.source", images, "--data.val_size", "12"]
    with subprocess.Popen(
        list(map(str, command)), cwd=cli.folder, env=cli.env | {"TERM": "xterm"}, stdout=end, stderr=end
    ) as process:
        os.close(end)
        received = bytearray()
        while chunk := read(terminal):
            received += chunk
    os.close(terminal)
    text = CONTROL.sub("", received.decode())
    assert process.returncode == 0, text
    assert "\x1b[" in received.decode() and re.search(r"Epoch 1/1 .*27/27", text), "no bar was drawn"
    # 27 batches an epoch, in windows of a fifth: 5 at a time, and a rest
    lines = [line for line in re.split(r"[\r\n]+", text) if line.startswith("epoch=")]
    ends = [(epoch, batch) for epoch in (1, 2) for batch in (5, 10, 15, 20, 25, 27)]
    assert [re.sub(r"loss \d+\.\d\d *$", "loss", line) for line in lines] == [
        f"epoch={epoch}, batch={batch:5}: loss" for epoch, batch in ends
    ]


def read(terminal: int) -> bytes:
    """Read what has arrived; nothing where the program has ended, which Linux reports as an error."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""
