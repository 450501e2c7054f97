"""Scores in nbgrader's gradebook, written through its own API.

book        an open gradebook: all that is written to one
database    where it lies: made, opened, refused in sentences
cells       its places: cells of an assignment, a grade and a comment for each in every submission
scores      what it says of a homework
decisions   points that people decided
lateness    what being late costs
dumped      its contents, to compare two of them
"""

from autograder.records.gradebook.book import Book
from autograder.records.gradebook.database import shown_url
from autograder.records.gradebook.dumped import dump
from autograder.records.gradebook.lateness import Lateness
from autograder.records.gradebook.scores import CellScore, StudentScore

__all__ = ["Book", "CellScore", "Lateness", "StudentScore", "dump", "shown_url"]
