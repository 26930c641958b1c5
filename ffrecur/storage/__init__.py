"""Nets in files: checkpoints, exported folders, and files that appear whole."""
