"""The only code that knows NATS."""
