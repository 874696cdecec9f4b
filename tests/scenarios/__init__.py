# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Golden logs: what hacore does in a given cloud while given things happen, second by second.

README.md explains the folders and lists them.  ``given`` builds the world,
``steps`` makes things happen, ``doors`` and ``clock`` stand between the engines
and the world, ``log`` writes the story and ``ending`` what there is at its end;
``run`` puts them together.
"""
