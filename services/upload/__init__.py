"""Is this bundle sound, and if so, which job is it?

Consumes: the requests ``admit`` and ``submit``, and ``fetch``, ``tree`` and ``pieces`` of workers;
the bucket ``quotas``.
Publishes: the fact ``submitted``; entries of the audit.
Owns: the buckets ``bundles``, ``uploads``, ``requests`` and ``chunks``; the trees of bundles in the
bucket ``trees``.
"""
