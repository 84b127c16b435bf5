"""Which job goes where, and when?

Consumes: every fact of ``JOBS``, folded into the live jobs (each replica for itself), beats, and
the requests ``claim``, ``report``, ``cancel``, ``drain``, ``explain``, ``quotas``, ``set-quota``.
Publishes: facts of jobs, tickets, commands to workers, entries of the audit.
Owns: the buckets ``workers``, ``drains``, ``classes`` and ``quotas``, the streams ``WORK_<pool>``
and their consumers.
"""
