"""Bytes from a server: cancellable HTTP, and its framing into events. This package knows no provider."""
