"""Which datasets are there, what is in them, and who may have it?

Consumes: the requests ``list``, ``find``, ``commit``, ``remove`` and ``resolve``, and ``tree`` and
``pieces`` of workers.
Publishes: entries of the audit.
Owns: the bucket ``datasets``; the trees of data in the bucket ``trees``. The pieces that those name
lie in ``chunks``, which the page writes and ``upload`` sweeps.
"""
