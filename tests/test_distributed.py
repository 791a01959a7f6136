"""Two processes on CPU, as two nodes that do not see each other's files, and as Lightning launches them."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_cifar.checkpoints import newest
from tests.conftest import Cli, make_folder
from tests.conftest import run as run_here
from tests.test_bad_input import NO_MIRROR, archive, good_batch

TIMEOUT = 120
NET = """
import time

import torch
from pytorch_lightning import Callback

class Normalised(torch.nn.Sequential):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(
            torch.nn.Conv2d(3, 4, 5, stride=4), torch.nn.BatchNorm2d(4), torch.nn.Flatten(),
            torch.nn.Linear(196, num_classes),
        )

class WithUnusedPart(Normalised):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)
        self.unused = torch.nn.Linear(1, 1)

    def forward(self, images):
        return self[3](self[2](self[1](self[0](images))))

class SlowEnd(Callback):
    def on_exception(self, trainer, module, exception):
        time.sleep(7 if trainer.is_global_zero else 0)

def newest_here(results):
    return next((str(path) for path in results.glob("**/last.ckpt")), None)

def unsure(results):
    from lightning_cifar.errors import UserError
    raise UserError("the service did not answer; start again later")
"""
# 99 training images less 14 leave 85, shared as 42 and 42: 11 batches, windows of 4. 15 test images as 8 and 7, in 3s.
FIT = (
    *("fit", "--data.val_size", 14, "--data.eval_batch_size", 3, "--trainer.max_epochs", 2),
    *("--trainer.log_every_n_steps", 4, "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"),
    *("--trainer.strategy", "ddp", "--model.net", "its_net.Normalised", "--trainer.sync_batchnorm", "false"),
)
NODES = ("--trainer.num_nodes", 2, "--trainer.devices", 1)
CPU = ("--trainer.accelerator", "cpu", "--trainer.strategy", "ddp", "--data.eval_batch_size", 3)


class Nodes:
    """Two nodes, each with a working folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.clis = []
        for rank in range(2):
            home = folder / f"node{rank}"
            home.mkdir()
            (home / "its_net.py").write_text(NET)
            cli = Cli(home)
            cli.env |= {"WORLD_SIZE": "2", "NODE_RANK": str(rank), "RANK": str(rank), "LOCAL_RANK": "0"}
            cli.env |= {"MASTER_ADDR": "127.0.0.1", "PYTHONPATH": f"{cli.env['PYTHONPATH']}:{home}"}
            self.clis.append(cli)

    def start(self, *args: object, program: tuple[str, ...] = ("-m", "lightning_cifar")) -> list[subprocess.Popen]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = str(server.getsockname()[1])
        for cli in self.clis:
            cli.env["MASTER_PORT"] = port
        return [cli.start(*args, program=program) for cli in self.clis]

    def __call__(self, *args: object, **options: object) -> list[tuple[int, str, str]]:
        return finish(self.start(*args, **options))


def finish(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Wait for all; give exit code, output and errors of each."""
    end = time.monotonic() + TIMEOUT
    try:
        texts = [process.communicate(timeout=max(1, end - time.monotonic())) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *text) for process, text in zip(processes, texts, strict=True)]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "colours", ("blue", "green", "red"), 33, 5)


def points(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


NOTING = """
import json, sys
from lightning_cifar import cli
from lightning_cifar.classifier import CIFAR10Classifier

step, losses = CIFAR10Classifier.training_step, []

def noting(self, batch, batch_idx):
    loss = step(self, batch, batch_idx)
    losses.append(float(loss))
    return loss

CIFAR10Classifier.training_step = noting
code = cli.main()
json.dump(losses, open("losses.json", "w"))
sys.exit(code)
"""
"""The command line, with each process's own losses written down."""


def test_two_nodes_train_test_and_resume_though_only_one_has_the_checkpoint(data, tmp_path):
    nodes = Nodes(tmp_path)
    done = nodes(*FIT, *NODES, "--data.source", data, program=("-c", NOTING))
    assert [code for code, _, _ in done] == [0, 0], done
    first, second = (cli.folder / "results" for cli in nodes.clis)
    run = first / "colours" / "version_0"
    assert (run / "checkpoints" / "best.ckpt").is_file() and (run / "confusion_matrix.png").is_file()
    assert not list(second.glob("**/*.ckpt"))
    assert "Finished Training" in done[0][1] and "Finished Training" not in done[1][1]

    a, b = (json.loads((cli.folder / "losses.json").read_text()) for cli in nodes.clis)
    assert len(a) == len(b) == 22 and a != b
    windows = [(0, 4), (4, 8), (8, 11), (11, 15), (15, 19), (19, 22)]
    means = [sum(a[begin:end] + b[begin:end]) / (2 * (end - begin)) for begin, end in windows]
    assert points(run, "loss") == [
        (end - 1, pytest.approx(mean)) for (_, end), mean in zip(windows, means, strict=True)
    ]
    assert [step for step, _ in points(run, "val_acc")] == [10, 21]
    assert len(points(run, "test_acc")) == 1
    last = torch.load(newest(first, "last"), weights_only=True)

    resumed = nodes(*FIT, *NODES, "--data.source", data, "--trainer.max_epochs", 3, "--ckpt_path", "last")
    assert [code for code, _, _ in resumed] == [0, 0], resumed
    again = torch.load(first / "colours" / "version_1" / "checkpoints" / "last.ckpt", weights_only=True)
    assert again["global_step"] == 33 and again["loss_history"][:6] == last["loss_history"]


def test_where_to_resume_is_for_process_0_to_say(data, tmp_path):
    nodes = Nodes(tmp_path)
    args = (*FIT, *NODES, "--data.source", data, "--resume")
    results = nodes.clis[0].folder / "results" / "colours"
    for version in (0, 1):  # at first nothing is there, then the first node alone has a checkpoint
        done = nodes(*args, "its_net.newest_here", "--trainer.max_epochs", version + 1)
        assert [code for code, _, _ in done] == [0, 0], done
        saved = torch.load(results / f"version_{version}" / "checkpoints" / "last.ckpt", weights_only=True)
        assert saved["global_step"] == 11 * (version + 1)
        assert len(points(results / f"version_{version}", "val_acc")) == 1


def test_what_keeps_process_0_from_resuming_ends_all(data, tmp_path):
    done = Nodes(tmp_path)(*FIT, *NODES, "--data.source", data, "--resume", "its_net.unsure")
    assert [code for code, _, _ in done] == [1, 1], done
    assert all("start again later" in err.splitlines()[-1] for _, _, err in done)


@pytest.mark.parametrize("signalled", [(0, 1), (1,)], ids=["both", "one"])
def test_sigterm_ends_both_nodes_after_the_same_batch(data, tmp_path, signalled):
    nodes = Nodes(tmp_path)
    processes = nodes.start(*FIT, *NODES, "--data.source", data, "--trainer.max_epochs", 100_000)
    results = nodes.clis[0].folder / "results"
    end = time.monotonic() + TIMEOUT
    while not list(results.glob("**/best*.ckpt")):
        assert time.monotonic() < end and all(process.poll() is None for process in processes), finish(processes)
        time.sleep(0.1)
    for rank in signalled:
        processes[rank].send_signal(signal.SIGTERM)
    done = finish(processes)
    assert [code for code, _, _ in done] == [143, 143], done
    assert all("Traceback" not in err for _, _, err in done)
    assert torch.load(newest(results, "last"), weights_only=True)["global_step"] > 0


def test_the_first_of_lightning_s_processes_may_take_longer_to_end(data, tmp_path):
    cli = Cli(tmp_path)
    (tmp_path / "its_net.py").write_text(NET)
    cli.env["PYTHONPATH"] += f":{tmp_path}"
    slow = ("--trainer.devices", 2, "--trainer.callbacks+=its_net.SlowEnd", "--trainer.max_epochs", 100_000)
    process = cli.start(*FIT, *slow, "--data.source", data)
    end = time.monotonic() + TIMEOUT
    while not list(tmp_path.glob("results/**/last.ckpt")):
        assert time.monotonic() < end and process.poll() is None, finish([process])
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    ((code, _, err),) = finish([process])
    assert code == 143, err
    assert err.count("interrupted by SIGTERM; saved") == 1


def test_a_network_with_an_unused_part_is_refused_in_one_line(data, tmp_path):
    done = Nodes(tmp_path)(*FIT, *NODES, "--data.source", data, "--model.net", "its_net.WithUnusedPart")
    assert [code for code, _, _ in done] == [1, 1], done
    for _, _, err in done:
        assert "Traceback" not in err
        assert "ddp_find_unused_parameters_true" in err.splitlines()[-1]


def test_processes_fall_back_to_synthetic_images_together_or_not_at_all(tmp_path):
    nodes = Nodes(tmp_path)
    archive(nodes.clis[0].folder / "data", good_batch())
    flags = ("--data.allow_unverified", "true", "--data.fallback", "synthetic", NO_MIRROR)
    done = nodes(*FIT, *NODES, *flags)
    assert [code for code, _, _ in done] == [1, 1], done
    assert all("only some of the processes have the data" in err.splitlines()[-1] for _, _, err in done)


def test_lightning_launches_two_processes_itself(data, tmp_path, monkeypatch):
    cli = Cli(tmp_path)
    (tmp_path / "its_net.py").write_text(NET)
    cli.env["PYTHONPATH"] += f":{tmp_path}"
    done = cli(*FIT, "--trainer.devices", 2, "--data.source", data)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "results" / "colours" / "version_0"
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    assert [step for step, _ in points(run, "loss")] == [3, 7, 10, 14, 18, 21]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 22
    assert done.stdout.count("Finished Training") == 1

    # The network is in the checkpoint, for each process; and 8 and 7 images count as 15.
    several = cli("test", "--ckpt_path", "last", "--data.source", data, "--trainer.devices", 2, *CPU)
    assert several.returncode == 0, several.stderr
    monkeypatch.syspath_prepend(tmp_path)
    assert run_here(tmp_path, "test", "--ckpt_path", "last", "--data.source", data, "--trainer.accelerator", "cpu") == 0
    for name in ("test_loss", "test_acc"):
        (_, ours), (_, theirs) = (points(run.parent / f"version_{n}", name)[0] for n in (1, 2))
        assert ours == pytest.approx(theirs, rel=1e-5), name
