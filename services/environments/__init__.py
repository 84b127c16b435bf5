"""Which image is built where, who waits for it, and where do its layers lie?

Consumes: the requests ``ask``, ``used`` and ``get`` of those who need one, and ``beat``, ``built``,
``share``, ``missing``, ``put``, ``done``, ``failed`` and ``alone`` of builders; ``packages``, what
was installed.
Publishes: ``stoker.cmd.<worker>.share``.
Owns: the buckets ``environments``, ``images`` and ``packages``.
"""
