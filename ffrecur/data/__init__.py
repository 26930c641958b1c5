"""Images and text as one tensor each for training, validation and test, sliced by index."""

from ffrecur.data.augment import Augmentation, Shift
from ffrecur.data.corpus import CorpusDataModule
from ffrecur.data.corruptions import Background, Contrast, Cutout, PixelNoise
from ffrecur.data.drift import DriftDataModule
from ffrecur.data.images import ImageDataModule
from ffrecur.data.videos import VideoDataModule

__all__ = ["Augmentation", "Background", "Contrast", "CorpusDataModule", "Cutout", "DriftDataModule", "ImageDataModule"]
__all__ += ["PixelNoise", "Shift", "VideoDataModule"]
