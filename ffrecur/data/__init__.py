"""Images as one uint8 tensor each for training, validation and test, sliced by index."""

from ffrecur.data.drift import DriftDataModule
from ffrecur.data.images import ImageDataModule

__all__ = ["DriftDataModule", "ImageDataModule"]
