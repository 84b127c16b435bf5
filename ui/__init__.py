"""The web page, the HTTP API and the WebSockets of Stoker.

Consumes: `JOBS` (live list), `LOGS` (live logs), the KV bucket `workers`.
Publishes: requests to people, upload, scheduler, archive and catalog; raw uploads into `uploads`.
Owns: nothing. Every replica can go at any time.
"""
