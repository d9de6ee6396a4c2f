"""A receiving world on loopback: a name server and an SMTP receiver which do as they are told.

Both are real servers on real sockets. `mta demo` tells its story with them, and the tests use them as the world
outside. They share no code with the parts they are used to try: what checks a parser must not be that parser.
"""
