"""`pyfpm doctor`: what would go wrong here, for each pool, and the command that mends it.

Facts are gathered by modules with effects (look, trial, machine, programs, web_user); all
judgements over them are pure.
"""
