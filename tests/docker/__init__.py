"""What needs a Docker engine that answers."""
