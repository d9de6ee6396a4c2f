"""Several workers on one machine: started with the same listening sockets, watched, told and stopped together."""
