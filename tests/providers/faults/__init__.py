"""Faults on cue, in every HTTP provider's own words: see ``far_side`` for what the tests share."""
