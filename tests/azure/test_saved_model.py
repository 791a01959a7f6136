"""A network becomes an MLflow model that is loaded where nothing of its code is."""

import subprocess
import sys

import torch

from lightning_cifar import CIFAR10Classifier
from lightning_cifar.azure.backends.saved_model import can_save, save_model
from tests.deadline import deadline

LOAD = """
import sys, torch, mlflow.pytorch
module = mlflow.pytorch.load_model(sys.argv[1])
torch.save(module(torch.ones(2, 3, 32, 32)), sys.argv[2])
"""


def test_it_gives_what_the_checkpoint_gives_without_any_of_this_project(tmp_path):
    module, trained = CIFAR10Classifier(), CIFAR10Classifier()
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "best.ckpt")

    assert can_save()
    folder = save_model(module, str(tmp_path / "best.ckpt"), tmp_path, deadline(60))
    command = [sys.executable, "-I", "-c", LOAD, str(folder), str(tmp_path / "logits.pt")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=deadline(60))

    assert done.returncode == 0, done.stderr
    expected = trained.eval()(torch.ones(2, 3, 32, 32))
    assert torch.allclose(torch.load(tmp_path / "logits.pt"), expected, atol=1e-5)
    assert not torch.allclose(module.eval()(torch.ones(2, 3, 32, 32)), expected)
    assert len([path for path in folder.rglob("*") if path.is_file()]) < 10, "few files to send"
