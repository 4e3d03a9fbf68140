"""From lines and spans to rows: join, endpoint, kind of traffic."""
