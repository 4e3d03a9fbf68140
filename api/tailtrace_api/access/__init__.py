"""Who may see what: decided here, before any route, page or tool.

`callers` says who asks, `policy` what a role may see, `guard` stands before the app and applies both; `tokens` keeps
tokens, `sessions` who logged in with a browser, `limits` bounds what one peer may ask, `auth_methods` refuses to
listen beyond loopback where nobody is told apart.
"""
