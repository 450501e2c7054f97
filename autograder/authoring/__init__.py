"""Making a homework, and finding out whether it is fair and sharp before anybody gets it.

template          the notebook with the answers cut out of the solution
release, leaks    what students get, and that nothing hidden is in it
variants, audit   submissions whose grade is known, graded
demo_class        a made-up class of them
"""
