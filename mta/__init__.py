"""A self-hosted SMTP sending server."""
