"""Coverage-guided fuzzing of what strangers' octets are read by: a module for each target, and `run` that drives it.

A target is a function `check` of any octets, which raises when a promise is broken. It knows nothing of the fuzzer, so
the ordinary tests replay the seeds with it, and let hypothesis try it too.
"""
