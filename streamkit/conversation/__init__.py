"""Conversations: history, turns, what of it is sent, and where it is kept."""
