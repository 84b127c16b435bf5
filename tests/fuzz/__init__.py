"""What does it take to make Stoker stumble? ``python -m tests.fuzz [--seconds N] [--seed N]``.

``coded`` throws bytes at whatever reads messages, ``zipped`` zips that lie at the check of bundles,
``served`` requests at a whole ``stoker up``, made from its own description of the API.
"""
