"""A course on disk.

course            its folder, and the fixed place of everything in it
settings          course.yaml, with one section for each folder that reads one
people            students.csv
"""
