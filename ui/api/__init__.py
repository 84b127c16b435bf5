"""The handlers of /api/v1, /healthz, /readyz and /metrics."""
