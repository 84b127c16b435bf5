"""Which machine is which worker, and who is thrown out?

Consumes: the requests ``invite``, ``enrol``, ``renew``, ``revoke`` and ``list``.
Publishes: entries of the audit; tells the nats-servers whom they have to refuse.
Owns: the bucket ``identities``, and the folder of keys that the whole bus is ruled by.
"""
