"""Conversations made by rule, for what the public corpora lack. Each module turns a `Maker` into messages."""
