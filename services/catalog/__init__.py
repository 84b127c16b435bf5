"""Which jobs are there?

Consumes: every fact of ``JOBS``; the requests ``list`` and ``usage``.
Publishes: nothing.
Owns: an index in SQLite, which can be rebuilt from ``JOBS`` at any time.
"""
