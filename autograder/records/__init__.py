"""What grading leaves behind: reports, gradebook, notebooks for humans, scores.

settle                 one report: report, gradebook, notebook, page, in an order that survives a kill
reports                the reports in a course folder
record: state          one record of each student's state in a homework
ways                   how each hand-in came
exports                what other programs take
gradebook, scores      nbgrader's database; scores.csv
by_hand, pages         what people gave in formgrader; the pages that speak of it
log, overrides         what people decided, in a log that is only appended to
standing, grades       where everybody stands in the course, and the grades
formgrader             rubrics in nbgrader's formgrader
nbgrader_config        what nbgrader's commands read of a course
autograded, disarm     the notebook a human grades from, and markdown of a student's that is safe to show
"""
