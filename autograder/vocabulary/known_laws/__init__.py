"""What the judge knows of the probes in `autograder.worker.probes`: their laws, exactly, a module for each family.

Nothing here runs in a sandbox. Public checks may use it as hidden ones do: a law says nothing about an answer.
"""

from autograder.vocabulary.known_laws.autoregressive import strong_table, table_law

__all__ = ["strong_table", "table_law"]
