"""What does each subcommand do? One module for each kind; heavy imports stay inside functions."""
