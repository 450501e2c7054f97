"""Reference implementations of every model family of the course: hidden from students, the yardstick of the checks."""
