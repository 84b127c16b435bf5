"""Which datasets are there, what is in them, and who may have it?

Consumes: the requests ``list``, ``find``, ``commit``, ``remove`` and ``resolve``, and ``tree`` and
``pieces`` of workers.
Publishes: entries of the audit.
Owns: the keys and the objects ``datasets``; what is in them lies in the bucket ``chunks``.
"""
