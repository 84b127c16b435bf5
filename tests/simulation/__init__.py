"""A house of virtual machines under virtual time: does every seed keep G1 and G2?

Real: the whole of ``services.scheduler``, and how it serves. Modelled: NATS with JetStream
(``broker``, ``network``, ``bus``), the machines with their agents and programs (``agent``,
``machine``). ``seams`` puts the one on the other, ``verdict`` judges what came of it.
"""
