"""A course on disk.

course              its folder, and the fixed place of everything in it
settings            course.yaml, with one section for each folder that reads one
people              students.csv
policy: formula     what a course consists of, and how points become a grade; `policies/` holds those that ship
late                deadlines, late rule, extensions
grades              from what a student has to a grade, with the formula worked out
marks               files of marks that people give
exam                questions of an oral exam, and who draws which; `exams/` holds those that ship
"""
