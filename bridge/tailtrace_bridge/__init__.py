"""The bridge: nginx lines, app spans and Tailscale identities become stored rows."""
