"""The server side of SMTP, which both doors share: octets, the order of commands, listeners. Knows neither door."""
