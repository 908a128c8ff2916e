"""Panels: what a person sees of models, their health and their use, and acts on, in a notebook's page.

A panel has two sides. In the kernel it is a ``Part``, which knows the farm and no widget library; in the page
it is a component written in TypeScript, below ``js``. ``Panel`` is the widget between them.
``docs/panels.md`` tells users of the panels, ``js/README.md`` how one is added.
"""
