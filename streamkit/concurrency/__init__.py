"""Channel, stop events and threads. This package knows neither HTTP nor language models."""
