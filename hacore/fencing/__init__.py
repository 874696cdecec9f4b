# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The devices that switch hosts off, and the proof that they did; no database, no Nova.

============  ================================================================
file          fencing.ini: read, checked, read again when it has changed
devices       which devices a host has, and on which level
installed     the fence agents of this machine, and which are refused
programs      runs a program, and leaves no process behind
supervisor    the program that does so: it is run, never imported
agents        one question to an agent, or one order
answers       what came of it: a verdict and a sentence
identity      is it the right box?
placeholders  values that many boxes show
proving       level by level: the order, and the reads that prove
============  ================================================================
"""
