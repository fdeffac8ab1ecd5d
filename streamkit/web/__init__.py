"""The last hop: from a stream to browsers and other clients over HTTP."""
