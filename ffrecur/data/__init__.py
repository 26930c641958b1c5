"""Images, videos and text as one tensor each for training, validation and test, sliced by index."""

from ffrecur.data.augment import Augmentation, Flip, Shift
from ffrecur.data.corpus import CorpusDataModule
from ffrecur.data.corruptions import Background, Contrast, Cutout, PixelNoise
from ffrecur.data.drift import DriftDataModule
from ffrecur.data.images import ImageDataModule
from ffrecur.data.scenes import Aperture, MovingClutter, NoisyFrames, Scene, SweepingBar
from ffrecur.data.staged import SceneDataModule
from ffrecur.data.videos import VideoDataModule

__all__ = ["Aperture", "Augmentation", "Background", "Contrast", "CorpusDataModule", "Cutout", "DriftDataModule"]
__all__ += [
    "Flip",
    "ImageDataModule",
    "MovingClutter",
    "NoisyFrames",
    "PixelNoise",
    "Scene",
    "SceneDataModule",
    "Shift",
]
__all__ += ["SweepingBar", "VideoDataModule"]
