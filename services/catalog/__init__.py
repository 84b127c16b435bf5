"""Which jobs are there?

Consumes: every fact of ``JOBS``; the request ``list``.
Publishes: nothing.
Owns: an index in SQLite, which can be rebuilt from ``JOBS`` at any time.
"""
