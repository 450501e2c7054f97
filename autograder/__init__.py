"""Grades notebooks of a deep generative models course: student code and the judge never share a process."""

__version__ = "0.1.0"
