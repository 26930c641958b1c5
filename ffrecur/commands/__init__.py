"""The commands of `ffrecur`."""
