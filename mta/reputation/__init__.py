"""Reputation: how an account does by what comes back, and whom it may not write to any more."""
