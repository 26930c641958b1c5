"""Images and text as one tensor each for training, validation and test, sliced by index."""

from ffrecur.data.augment import Augmentation, Shift
from ffrecur.data.corpus import CorpusDataModule
from ffrecur.data.drift import DriftDataModule
from ffrecur.data.images import ImageDataModule
from ffrecur.data.scenes import Aperture, MovingClutter, NoisyFrames, Scene, SweepingBar
from ffrecur.data.staged import SceneDataModule

__all__ = ["Augmentation", "CorpusDataModule", "DriftDataModule", "ImageDataModule", "Shift"]
__all__ += ["Aperture", "MovingClutter", "NoisyFrames", "Scene", "SceneDataModule", "SweepingBar"]
