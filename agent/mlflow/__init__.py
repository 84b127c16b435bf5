"""How do programs that use MLflow track to Stoker without a change? One endpoint an attempt."""
