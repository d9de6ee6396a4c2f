"""Accounts: who may submit, how a password is kept, and what an account may send."""
