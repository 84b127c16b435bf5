"""What can a job run in? Each runtime behind the protocol of ``protocol.py``."""
