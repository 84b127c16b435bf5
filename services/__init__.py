"""The services. They talk through the bus, never to each other."""
