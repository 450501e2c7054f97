"""Making a homework, and finding out whether it is fair and sharp before anybody gets it.

template          the notebook with the answers cut out of the solution
release           what students get
secrets, leaks    that nothing hidden is in it
lint              what is wrong with a file of checks whatever a notebook does
new, intake       a homework begun from a worked example, or from a notebook that is there
variants, audit   submissions whose grade is known, graded
calibrate, lines, calibrated   honest trainings, where lines belong, and the file that says so
demo_class        a made-up class of them
"""
