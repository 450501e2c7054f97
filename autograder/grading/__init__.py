"""Grading a class: submissions in; reports, gradebook, pages and scores out.

batch        the path of a class
local        judge processes of this machine, which a batch never dies of
walls        whose report replaces whose
collecting   from what was handed in to the course folder
places       what lies there, read when it changed
plan         what is to be done with each submission, and why
stale        which checks of a report are stale, and why
pages        the page of the class, and of whoever cannot be graded
alone        one grader at a time, and what a killed one had begun
"""
