"""Which image is built where, who waits for it, and where do its layers lie?

Consumes: the requests ``ask``, ``beat``, ``built``, ``share``, ``missing``, ``put``, ``done``,
``failed``, ``alone`` and ``get`` of workers.
Publishes: ``stoker.cmd.<worker>.share``.
Owns: the buckets ``environments`` and ``images``.
"""
