"""Two processes on CPU, as two nodes that do not see each other's files, and as Lightning launches them."""

import json
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import torch
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_cifar.callbacks.checkpoints import by_process_0, newest_checkpoint
from lightning_cifar.callbacks.graceful_stop import Interrupted
from lightning_cifar.errors import UserError
from tests.conftest import Cli, make_folder
from tests.conftest import run as run_here
from tests.deadline import deadline, wait_until

pytestmark = pytest.mark.timeout(deadline(60))

NET = """
import torch

class Normalised(torch.nn.Sequential):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(
            torch.nn.Conv2d(3, 4, 5, stride=4), torch.nn.BatchNorm2d(4), torch.nn.Flatten(),
            torch.nn.Linear(196, num_classes),
        )

def newest_here(results):
    return next((str(path) for path in results.glob("**/last.ckpt")), None)
"""
# 99 training images less 14 leave 85, shared as 42 and 42: 11 batches, windows of 4. 15 test images as 8 and 7, in 3s.
FIT = (
    *("fit", "--data.val_size", 14, "--data.eval_batch_size", 3, "--trainer.max_epochs", 2),
    *("--trainer.log_every_n_steps", 4, "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"),
    *("--trainer.strategy", "ddp", "--model.net", "its_net.Normalised", "--trainer.sync_batchnorm", "false"),
)
NODES = ("--trainer.num_nodes", 2, "--trainer.devices", 1)


NOTING = """
import json, sys
import torch
from lightning_cifar import cli
from lightning_cifar.classifier import CIFAR10Classifier

step, losses = CIFAR10Classifier.training_step, []

def noting(self, batch, batch_idx):
    noting.module = self
    loss = step(self, batch, batch_idx)
    losses.append(float(loss))
    return loss

CIFAR10Classifier.training_step = noting
code = cli.main()
json.dump(losses, open("losses.json", "w"))
torch.save(dict(noting.module.named_parameters()), "weights.pt")
sys.exit(code)
"""
"""The command line, with each process's own losses, and its weights at the end, written down."""


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

    def start(self, *args: object) -> list[subprocess.Popen]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = str(server.getsockname()[1])
        for cli in self.clis:
            cli.env["MASTER_PORT"] = port
        return [cli.start(*args, program=("-c", NOTING)) for cli in self.clis]

    def losses(self) -> list[list[float]]:
        return [json.loads((cli.folder / "losses.json").read_text()) for cli in self.clis]


def finish(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Wait for all; return exit code, output and errors of each."""
    try:
        texts = [process.communicate(timeout=deadline(20)) for process in processes]
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


def test_two_nodes_stop_together_resume_and_test_though_only_one_has_the_checkpoint(data, tmp_path, monkeypatch):
    nodes = Nodes(tmp_path)
    fit = (*FIT, *NODES, "--data.source", data, "--resume", "its_net.newest_here")
    first, second = (cli.folder / "results" for cli in nodes.clis)
    processes = nodes.start(*fit, "--trainer.max_epochs", 100_000)
    ended = lambda: any(process.poll() is not None for process in processes)  # noqa: E731
    wait_until(lambda: ended() or list(first.glob("**/best*.ckpt")), 30)
    assert not ended(), finish(processes)
    processes[1].send_signal(signal.SIGTERM)
    done = finish(processes)
    assert [code for code, _, _ in done] == [143, 143], done
    assert all("Traceback" not in err for _, _, err in done)
    assert done[0][2].splitlines()[-1].startswith("interrupted by SIGTERM; saved results/colours/version_0/")
    (a, b), last = nodes.losses(), newest_checkpoint(first, "last")
    stopped = torch.load(last, weights_only=True)
    assert len(a) == len(b) == stopped["global_step"] and a != b, "after the same batch, each with its own images"
    assert not list(second.glob("**/*.ckpt"))

    # The first node alone has a checkpoint, and says for both where to resume.
    done = finish(nodes.start(*fit, "--trainer.max_epochs", stopped["epoch"] + 2))
    assert [code for code, _, _ in done] == [0, 0], done
    assert "Finished Training" in done[0][1] and "Finished Training" not in done[1][1]
    a, b = (before + after for before, after in zip((a, b), nodes.losses(), strict=True))
    run = first / "colours" / "version_1"
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert len(a) == len(b) == saved["global_step"] == 11 * (stopped["epoch"] + 2)
    windows = [(step + begin, step + end) for step in range(0, len(a), 11) for begin, end in ((0, 4), (4, 8), (8, 11))]
    means = [sum(a[begin:end] + b[begin:end]) / (2 * (end - begin)) for begin, end in windows]
    assert saved["loss_history"] == [
        (end - 1, pytest.approx(mean)) for (_, end), mean in zip(windows, means, strict=True)
    ]
    before = len(stopped["loss_history"])
    assert [step for step, _ in points(run, "loss")] == [step for step, _ in saved["loss_history"][before:]]
    assert [step for step, _ in saved["val_history"]] == list(range(10, len(a), 11))

    # What 8 and 7 images gave is what 15 give in one process.
    (best,) = (state["best_model_path"] for key, state in saved["callbacks"].items() if "val_acc" in key)
    monkeypatch.syspath_prepend(nodes.clis[0].folder)
    test = ("test", "--ckpt_path", best, "--data.source", data, "--trainer.accelerator", "cpu")
    assert run_here(nodes.clis[0].folder, *test) == 0
    for name in ("test_loss", "test_acc"):
        ((_, ours),), ((_, theirs),) = (points(run.parent / f"version_{n}", name) for n in (1, 2))
        assert ours == pytest.approx(theirs, rel=1e-5), name


def test_lookahead_leaves_the_same_weights_in_each_process(data, tmp_path):
    nodes = Nodes(tmp_path)
    lookahead = "--trainer.callbacks+=lightning_cifar.callbacks.lookahead.Lookahead"
    done = finish(nodes.start(*FIT, *NODES, "--data.source", data, lookahead))
    assert [code for code, _, _ in done] == [0, 0], done
    a, b = nodes.losses()
    assert len(a) == len(b) == 22 and a != b, "each with its own images"
    first, second = (torch.load(cli.folder / "weights.pt") for cli in nodes.clis)
    assert first and all(torch.equal(first[name], second[name]) for name in first)
    (best,) = nodes.clis[0].folder.glob("results/**/best.ckpt")
    saved = torch.load(best, weights_only=True)
    assert all(torch.equal(value, saved["state_dict"][name]) for name, value in first.items())
    assert any(not torch.equal(value, saved["current_model_state"][name]) for name, value in first.items())


def test_an_error_of_process_0_while_resuming_ends_all_processes(monkeypatch):
    sent: list[object] = []

    def broadcast(answer: list, src: int) -> None:
        sent.append(answer[0])
        answer[0] = sent[0]

    def unsure() -> None:
        raise UserError("the service did not answer; start again later")

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "broadcast_object_list", broadcast)
    for rank, ask in ((0, unsure), (1, lambda: pytest.fail("process 0 alone asks"))):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        with pytest.raises(UserError, match="start again later"):
            by_process_0(ask)


@pytest.mark.parametrize(
    ("rank", "launcher", "code", "says"),
    [
        (0, "Lightning", 143, "interrupted by SIGTERM; saved last.ckpt\n"),
        (1, "Lightning", 0, ""),  # else Lightning would have the first process killed, which may still be sending
        (1, "platform", 143, ""),
    ],
)
def test_of_interrupted_processes_only_the_first_prints_a_message(
    monkeypatch, capsys, tmp_path, rank, launcher, code, says
):
    def stopped(_):
        raise Interrupted(signal.SIGTERM, "saved last.ckpt")

    monkeypatch.setattr("lightning_cifar.cli.CLI", stopped)
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    monkeypatch.delenv("RANK", raising=False)
    if launcher == "platform":
        monkeypatch.setenv("RANK", str(rank))
    assert run_here(tmp_path, "fit") == code
    assert capsys.readouterr().err == says


def test_lightning_launches_two_processes_itself(data, tmp_path):
    cli = Cli(tmp_path)
    (tmp_path / "its_net.py").write_text(NET)
    cli.env["PYTHONPATH"] += f":{tmp_path}"
    done = cli(*FIT, "--trainer.devices", 2, "--trainer.max_epochs", 1, "--data.source", data)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "results" / "colours" / "version_0"
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    assert [step for step, _ in points(run, "loss")] == [3, 7, 10]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 11
    assert done.stdout.count("Finished Training") == 1
