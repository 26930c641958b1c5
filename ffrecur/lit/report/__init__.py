"""What an evaluation leaves in the folder of a run."""
