"""Which numbers did the jobs tell, and how did they go?

Consumes: ``METRICS``, ``LOGS``, the outputs, ends of attempts; ``watch``, a nudge of the page.
Publishes: nothing.
Owns: the bucket ``metrics``.
"""
