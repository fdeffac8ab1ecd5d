"""Channel, stop events and threads. Knows neither HTTP nor language models."""
