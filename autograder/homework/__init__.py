"""What a student may read of a homework, and a notebook read against it.

files                  where the files of a homework lie
assignment, settings   loading one; the sections of assignment.yaml
checkfile, handed      the markers of a file of checks; functions that make data for a notebook
ipynb, align, restore  reading a notebook, matching it with the template, repairing it
"""
