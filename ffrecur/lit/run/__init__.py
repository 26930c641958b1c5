"""The folder of a run, and all that keeps a training whole."""
