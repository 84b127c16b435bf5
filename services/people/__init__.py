"""Who is who, and how do they show it?

Consumes: its requests (``schemas.people_requests``).
Publishes: the audit of sign-ins, users, tokens and shares.
Owns: the bucket ``people``. Of every secret only a hash lies there.
"""
