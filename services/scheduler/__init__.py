"""Which job goes where, and when?

Consumes: every fact of ``JOBS``, folded into the live jobs (each replica for itself), beats, and
the requests ``claim``, ``report``, ``cancel``, ``drain``, ``explain``.
Publishes: facts of jobs, tickets, commands to workers.
Owns: the buckets ``workers``, ``drains`` and ``classes``, the streams ``WORK_<pool>`` and their
consumers.
"""
