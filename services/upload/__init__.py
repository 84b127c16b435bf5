"""Is this bundle sound, and if so, which job is it?

Consumes: requests ``admit``, ``submit`` and ``fetch``; the bucket ``quotas``.
Publishes: the fact ``submitted``; entries of the audit.
Owns: the buckets ``bundles``, ``uploads`` and ``requests``.
"""
