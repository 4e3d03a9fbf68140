"""The process: `serve`, `bridge` and `api`, their sockets and their heap."""
