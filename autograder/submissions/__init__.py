"""From what a class handed in to submissions ready to grade.

collect    folders, zips and exports of course pages, one submission a student
beside     the files beside a notebook
archive    listing and reading what strangers made, without following a path of theirs
roster     who is meant
settings   the section `due:` of course.yaml
"""
