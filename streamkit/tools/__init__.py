"""Functions that a model calls: schemas, arguments, runs, approval, typed output."""
