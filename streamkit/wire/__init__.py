"""HTTP values, secrets and JSON, shared by the providers, which do no I/O, and the transport."""
