"""A pool whose user has taken over its application attacks root, the master and its neighbours.

    arena.py         one daemon with three pools under three users, and how it is put back in order after an attack
    toolbox.py       what an attacker's code finds at hand (also imported by the attacker's application)
    attacks.py       the attacks: a table; a new one is a row
    measures.py      what is measured during an attack, and what is too much
    witness.py       what the master did before an answer that was late; look.py reads its stack
    test_attacks.py  each attack by itself, in `make test`
    mixtures.py      attacks in random order and several at once, `make hostile`

They run alone on the machine, before the other tests, for they measure how long a neighbour waits.
"""
