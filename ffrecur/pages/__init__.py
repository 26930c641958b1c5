"""Pages of HTML about a run: what its files say, in words, tables and pictures."""
