"""The stream, its worker thread, and what the two share."""
