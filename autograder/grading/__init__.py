"""Grading a class: submissions in; reports, gradebook, pages and scores out.

batch        the path of a class
executor     who is next, what is done a second time, and when that is enough
local        judge processes of this machine, which a batch never dies of
cluster      which machines grade: this one, or those of a cluster
dask         the machines of a cluster, as an executor
node         one of them: its judge processes, and what it is sent
serving      the processes of a cluster, whatever becomes of each other
machine      what of a machine could change a mark
bundle       what a judge reads of a homework, as one file
tls          who may talk to a cluster
walls        whose report replaces whose
collecting   from what was handed in to the course folder
places       what lies there, read when it changed
plan         what is to be done with each submission, and why
stale        which checks of a report are stale, and why
pages        the page of the class, and of whoever cannot be graded
alone        one grader at a time, and what a killed one had begun
"""
