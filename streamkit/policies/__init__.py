"""What decides how requests are sent: routes, limits, circuit breakers, caches, middleware."""
