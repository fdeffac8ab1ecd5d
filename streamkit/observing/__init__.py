"""Observers of streams, their reports and figures, and the usage tracker."""
