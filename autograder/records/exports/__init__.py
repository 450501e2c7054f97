"""What other programs take: a homework's points and reports in their own formats.

tables       a row for every check, all reports, rows for a mail merge
gradebooks   the files that Canvas and Moodle import, made of the ones they export
pages        students' pages under the names that Canvas and Moodle give to what was handed in
gradescope   results for an upload, and the zip with which Gradescope runs the public checks
"""
