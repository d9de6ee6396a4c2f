"""Values and grammar of mail: addresses, envelopes, replies, headers, tokens. No I/O."""
