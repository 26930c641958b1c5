"""Negative data: wrong labels, hybrids of two images, and windows of text that are wrong or dreamt."""

from ffrecur.negatives.images import Hybrids, ImageNegatives, hybrid_images
from ffrecur.negatives.labels import LabelNegatives, hard_labels, likely_labels, uniform_labels
from ffrecur.negatives.windows import WindowNegatives

__all__ = [
    "Hybrids",
    "ImageNegatives",
    "LabelNegatives",
    "WindowNegatives",
    "hard_labels",
    "hybrid_images",
    "likely_labels",
    "uniform_labels",
]
