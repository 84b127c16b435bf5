"""What did the jobs write, and who may still add to it?

Consumes: the requests ``stored``, ``put``, ``commit`` and ``sending`` of workers.
Publishes: nothing.
Owns: the bucket ``outputs``.
"""
