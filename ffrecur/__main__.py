"""`python -m ffrecur` is the command `ffrecur`."""

from ffrecur.main import entry_point

if __name__ == "__main__":
    entry_point()
