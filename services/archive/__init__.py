"""Where do logs go when they are too old or too long for the stream?

Consumes: ends of attempts (durable ``archive`` on ``JOBS``), ``LOGS``; the request ``position``.
Publishes: nothing.
Owns: the bucket ``logs``; trims ``LOGS``.
"""
