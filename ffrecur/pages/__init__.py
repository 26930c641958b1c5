"""Pages of HTML: reports of runs, and nets to play with."""
