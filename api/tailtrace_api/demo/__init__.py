"""The demo: a chocolate factory behind a real nginx, its people, and `tailtrace serve` beside it."""
