"""Which of JetStream's headers do we set?"""

from __future__ import annotations

EXPECTED = "Nats-Expected-Last-Subject-Sequence"
"""The message is taken only while this is the last sequence of its subject (0: of none)."""
EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
"""The subject, wildcards allowed, that ``EXPECTED`` speaks of instead."""
ROLLUP = "Nats-Rollup"
"""``sub``: the message replaces what its subject held."""
