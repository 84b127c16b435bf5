"""What did the jobs write, and who may still add to it?

Consumes: the requests ``stored``, ``put``, ``commit`` and ``sending`` of workers, and those of
checkpoints (``checkpoint-stored``, ``-put``, ``-commit``, ``-last``, ``-get``).
Publishes: nothing.
Owns: the buckets ``outputs`` and ``checkpoints``.
"""
