"""What surrounds a run: environments, bundles, data, outputs, metrics."""
