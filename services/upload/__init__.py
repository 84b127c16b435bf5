"""Is this bundle sound, and if so, which job is it?

Consumes: requests ``submit`` and ``fetch``.
Publishes: the fact ``submitted``.
Owns: the buckets ``bundles``, ``uploads`` and ``requests``.
"""
