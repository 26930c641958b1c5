"""Negative data: wrong labels, and windows of text that are wrong or dreamt."""

from ffrecur.negatives.labels import hard_labels, uniform_labels

__all__ = ["hard_labels", "uniform_labels"]
