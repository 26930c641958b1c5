"""Images and text as one tensor each for training, validation and test, sliced by index."""

from ffrecur.data.augment import Augmentation, Shift
from ffrecur.data.corpus import CorpusDataModule
from ffrecur.data.corruptions import Background, Contrast, Cutout, PixelNoise
from ffrecur.data.drift import DriftDataModule
from ffrecur.data.images import ImageDataModule

__all__ = ["Augmentation", "CorpusDataModule", "DriftDataModule", "ImageDataModule", "Shift"]
__all__ += ["Background", "Contrast", "Cutout", "PixelNoise"]
