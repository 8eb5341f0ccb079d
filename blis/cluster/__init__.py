"""The simulated target: admission, routing and instances with their schedulers and KV caches."""
