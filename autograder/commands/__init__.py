"""What each command does, and what it prints: data on stdout, talk on stderr.

for_students, for_tas, for_instructors, machine   the commands, by who uses them
overriding, exams, grades, similar                what is decided about a course, and said of it
show, progress, matrix, doctor                    what they say
"""
