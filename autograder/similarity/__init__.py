"""Which submissions share more than the task: pairs to look at, and an accusation of nobody.

tokens         a submission's code without what a template gave, names, comments and formatting
fingerprints   winnowing: hashes of runs of tokens that move with the code
pairs          who shares how much with whom, and where
"""
