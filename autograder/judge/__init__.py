"""One submission: a notebook played in a sandbox, its checks run with pytest, and a report of what they found.

grade            the whole path of one submission
session          its sandboxes, replayed when one dies; providers: where they come from
runner, figures  its checks, and the pictures they collect
messages         what a student may read of a hidden check
keys             what a run is seeded with; handing: what a notebook is handed before it runs
control          whose fault it is that a check broke; model_answers: the solution it is tried on
watchdog, kept   what bounds the judge's own part of checks, and what outlives a judge that dies
scoring          from outcomes to points
basis            what a mark stands on; definitions: which definitions a definition reaches
selfcheck        `check("…")` in a student's notebook; notebook_check: the same for a notebook file
"""
