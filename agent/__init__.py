"""One worker machine: claims jobs, runs them, streams their logs, reports their ends."""
