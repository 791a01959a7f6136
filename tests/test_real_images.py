"""The real images, where they are at hand: a short training is clearly better than chance."""

import os
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.deadline import deadline

IMAGES = Path(os.environ.get("LIGHTNING_CIFAR_IMAGES", ROOT / "data" / "cifar10-images"))


@pytest.mark.skipif(not (IMAGES / "train").is_dir(), reason="no real images here")
@pytest.mark.timeout(deadline(60))
def test_net_learns_real_images(main):
    flags = ("--data.source", IMAGES, "--data.batch_size", 16, "--optimizer.lr", 0.01, "--trainer.max_steps", 1000)
    assert main("fit", *flags, "--trainer.enable_progress_bar", "false") == 0, main.err
    (last,) = main.folder.glob("results/*/version_0/checkpoints/last.ckpt")
    history = torch.load(last, weights_only=True)["loss_history"]
    assert history[-1][0] == 999 and history[-1][1] < 1.8 < history[0][1]
    (line,) = (line for line in main.out.splitlines() if "test accuracy" in line)
    assert float(line.split()[2].rstrip("%")) > 35  # chance: 10
