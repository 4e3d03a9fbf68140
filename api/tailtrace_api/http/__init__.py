"""The HTTP API: routes, parameters, response models."""
