"""Bytes from a server: HTTP that can be cancelled, and server-sent events. Knows no provider."""
