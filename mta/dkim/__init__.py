"""DKIM signatures for the mail we send (RFC 6376, RFC 8301, RFC 8463): keys, body hash, fields, alignment."""
