"""The LightningDataModule: images in memory, split, shuffled and handed out in whole batches."""

import os
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from lightning_cifar.augment import Augment, Kind, Mode
from lightning_cifar.data import LabelledImages, Source, resolve_source
from lightning_cifar.data.folder import read_files
from lightning_cifar.errors import UserError
from lightning_cifar.files import is_hidden
from lightning_cifar.loader import BatchLoader, EvalSampler, TrainSampler, normalized, to_float

VAL_SIZE = 5000
"""Validation images, where the training set has ten times as many: the usual share of CIFAR-10's 50,000."""


class CIFAR10DataModule(LightningDataModule):
    """CIFAR-10, a folder of images, or a built-in synthetic set, as float batches in [-1, 1].

    The set is held in memory once, as uint8 (N, 3, 32, 32). Validation images are taken from the training images,
    always the same ones for the same `split_seed`, never from the test images.

    Args:
        source: `cifar10`, `synthetic`, or a folder with `train/<class>/*` and `test/<class>/*`.
        data_dir: where `cifar10` lies or is downloaded to, and where caches are kept.
        batch_size: images in a batch of each process, at least 1.
        val_size: images of the training set to validate on, 0 or more; by default 5,000, but at most a tenth of them.
        split_seed: chooses them; no other seed does.
        augment: how to change the training images at random: `crop_flip` and `alternating_flip` shift and mirror them;
            see `Augment`.
        padding: pixels by which they are shifted at most, 0 or more.
        padding_mode: what moves in: zeros, or the image reflected at its edge.
        normalize: scale each channel to mean 0 and deviation 1 over CIFAR-10, instead of to [-1, 1]. A checkpoint
            brings its own choice.
        mirrors: addresses of the official archive, tried in order; by default a fast one and the official one.
        fallback: `synthetic` to train on the built-in set where `cifar10` cannot be had; by default that is an error.
            Each process settles it by itself.
        eval_batch_size: images in a batch of validation, test and prediction.
        predict_path: an image, or a folder of images, to predict.
    """

    def __init__(
        self,
        source: str = "cifar10",
        data_dir: Path = Path("data"),
        batch_size: int = 4,
        val_size: int | None = None,
        split_seed: int = 0,
        augment: Kind = "none",
        padding: int = 4,
        padding_mode: Mode = "zero",
        normalize: bool = False,
        mirrors: list[str] | None = None,
        fallback: Literal["synthetic"] | None = None,
        eval_batch_size: int = 500,
        predict_path: Path | None = None,
    ) -> None:
        super().__init__()
        sizes = ("batch_size", batch_size, 1), ("eval_batch_size", eval_batch_size, 1), ("val_size", val_size or 0, 0)
        for name, value, least in (*sizes, ("padding", padding, 0)):
            if value < least:
                raise UserError(f"data.{name} is {value}; give a number of {least} or more")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_size = val_size
        self.split_seed = split_seed
        self.augment = Augment(augment, padding, padding_mode)
        self.normalize = normalize
        self.predict_path = predict_path
        self._resolve = partial(resolve_source, source, Path(data_dir), mirrors, fallback)
        self._sets: dict[str, LabelledImages] = {}
        self._train_part = self._val_part = torch.empty(0, dtype=torch.int64)

    @cached_property
    def source(self) -> Source:
        """Where the images come from; chosen once."""
        return self._resolve()

    @property
    def class_names(self) -> list[str]:
        """The classes in label order, found without reading an image.

        Raises:
            UserError: the data is not there, or not what it should be.
        """
        return self.source.class_names()

    def prepare_data(self) -> None:
        """Download, decode or draw what is missing, once on each machine.

        Raises:
            UserError: the data cannot be had.
        """
        predicts = self.trainer is not None and self.trainer.state.fn == "predict"
        if not predicts and not self._sets:  # a `test` after `fit` need not look through 60,000 files again
            self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Read into memory what `stage` needs: fit, validate, test, predict; by default all but predict.

        Raises:
            UserError: the data is damaged, or has no more training images than `val_size`.
        """
        if stage in ("fit", "validate", None) and "train" not in self._sets:
            train = self.source.load("train")
            self._train_part, self._val_part = self._split(len(train.labels))
            self._sets["train"] = train
        if stage in ("test", None) and "test" not in self._sets:
            self._sets["test"] = self.source.load("test")

    def _split(self, count: int) -> tuple[Tensor, Tensor]:
        size = min(VAL_SIZE, count // 10) if self.val_size is None else self.val_size
        if size >= count:
            raise UserError(
                f"data.val_size is {size}, but there are only {count} training images; give a number below {count}, "
                f"or leave --data.val_size out for {min(VAL_SIZE, count // 10)}"
            )
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.split_seed))
        return order[size:].sort().values, order[:size].sort().values

    def train_dataloader(self) -> BatchLoader:
        """Return the training images, in a new order each epoch.

        Raises:
            UserError: there are fewer images than processes.
        """
        part = self._train_part
        if self.trainer and (batches := int(self.trainer.overfit_batches)):  # type: ignore[attr-defined]  # set where mypy does not look
            part = part[: batches * self.batch_size * self.trainer.world_size]
        rank, world_size = self._place(part)
        # The convention of Lightning's own samplers: what --seed_everything says, the same in each process.
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        return BatchLoader(
            self._on_device("train"),
            part,
            self.batch_size,
            TrainSampler(part, seed, rank, world_size),
            augment=self.augment,
            seed=seed + rank,
            scale=self.scale,
        )

    def scale(self, images: Tensor) -> Tensor:
        """Scale uint8 images to the floats that the network gets."""
        return normalized(images) if self.normalize else to_float(images)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint's network relies on."""
        return {"normalize": self.normalize}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Scale as the checkpoint's network is used to."""
        self.normalize = state_dict["normalize"]

    def training_images(self, count: int) -> Tensor:
        """Return at most `count` training images, of all classes, as the network gets them, but for augmentation."""
        evenly = torch.linspace(0, len(self._train_part) - 1, min(count, len(self._train_part))).long()
        return self.scale(self._sets["train"].images[self._train_part[evenly]])

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """Return the validation images, each exactly once over all processes; no loader where there is none."""
        return self._eval_loader(self._on_device("train"), self._val_part) if len(self._val_part) else []

    def test_dataloader(self) -> BatchLoader:
        """Return the test images, each exactly once over all processes."""
        test = self._on_device("test")
        return self._eval_loader(test, torch.arange(len(test.labels)))

    def predict_dataloader(self) -> BatchLoader:
        """Return the images of `predict_path`, in the order of their names.

        Raises:
            UserError: no path is given, or an image there is no image.
        """
        if self.predict_path is None:
            raise UserError("predict needs images: name a file or a folder with --data.predict_path")
        images = read_files([str(file) for file in self.predict_files()], "predict")
        self._sets["predict"] = LabelledImages.from_numpy(images, np.zeros(len(images), np.int64))
        return self._eval_loader(self._on_device("predict"), torch.arange(len(images)))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the batch, which is there already: Lightning's search for tensors takes 1.4 % of a tiny step."""
        return batch

    def predict_files(self) -> list[Path]:
        """Return the images of `predict_path`: itself, or all visible files in it and below, by name.

        Raises:
            UserError: there is none.
        """
        path = Path(self.predict_path or "")
        below = (file for file in path.glob("**/*") if not any(map(is_hidden, file.relative_to(path).parts)))
        files = [path] if path.is_file() else sorted(file for file in below if file.is_file())
        if not files:
            raise UserError(f"no image {path}: name a file or a folder with images with --data.predict_path")
        return files

    def sample_test_images(self, count: int) -> LabelledImages:
        """Return `count` test images, evenly over the set, or all where there are fewer."""
        images, labels = self._sets["test"]
        chosen = torch.linspace(0, len(labels) - 1, min(count, len(labels)), device=labels.device).long()
        return LabelledImages(images[chosen], labels[chosen])

    def _eval_loader(self, data: LabelledImages, part: Tensor) -> BatchLoader:
        rank, world_size = self._place(part)
        sampler = EvalSampler(part, rank, world_size)
        return BatchLoader(data, part, self.eval_batch_size, sampler, scale=self.scale)

    def _place(self, part: Tensor) -> tuple[int, int]:
        """Return rank and number of processes, each of which must have an image."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if len(part) < world_size:
            raise UserError(f"{len(part)} images cannot be shared by {world_size} processes")
        return rank, world_size

    def _on_device(self, split: str) -> LabelledImages:
        """Move a set to the Trainer's device once: a batch then never waits for a transfer."""
        if self.trainer:
            device = self.trainer.strategy.root_device
            self._sets[split] = LabelledImages(*(tensor.to(device) for tensor in self._sets[split]))
        return self._sets[split]
