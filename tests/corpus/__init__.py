"""Answers to the exercises, lesson by lesson, with which test_checks.py tries the checks.

An answer is a solution with some text replaced. A wrong one comes with a part of what the check has
to say; words that name no mistake are marked with a "?".
"""

Wrong = list[tuple[str, str, str]]  # replace this, by that, and the check says
Right = list[tuple[str, str]]

#: Exercise: its parameters, the body of its solution, wrong answers, other right ones.
Corpus = dict[str, tuple[str, str, Wrong, Right]]
