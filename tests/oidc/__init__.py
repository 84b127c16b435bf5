"""A provider of OpenID Connect, started as its maker would: a test dependency alone."""
