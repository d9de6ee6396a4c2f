from tests.smtp.certificates import authority, client_context, server_context

__all__ = ["authority", "client_context", "server_context"]
