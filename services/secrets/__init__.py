"""Which secrets has somebody, and which attempt is given them?

Consumes: the requests ``key``, ``set``, ``list``, ``remove``, ``forget``, and ``open`` of workers.
Publishes: entries of the audit.
Owns: the bucket ``secrets``; what lies in it is locked by a key that lies elsewhere.
"""
