"""Helpers for building requests, shared by all wire formats."""
