"""Negative data: wrong labels, and windows of text that are wrong or dreamt."""

from ffrecur.negatives.labels import LabelNegatives, hard_labels, uniform_labels
from ffrecur.negatives.windows import WindowNegatives

__all__ = ["LabelNegatives", "WindowNegatives", "hard_labels", "uniform_labels"]
