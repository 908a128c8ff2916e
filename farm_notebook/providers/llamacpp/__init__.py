"""The embedded provider: llama.cpp in a supervised child process.

``provider.py`` speaks to it, ``supervisor.py`` keeps the process, ``child.py`` is what runs in it.
"""
