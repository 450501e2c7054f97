"""The judge: plays a notebook in a sandbox, runs its checks with pytest, and makes a report of what they found.

`grade` holds the whole path of one submission, `batch` that of a class, `session` one submission's sandboxes, `runner`
the checks, `classroom` the warm processes that grade side by side.
"""
