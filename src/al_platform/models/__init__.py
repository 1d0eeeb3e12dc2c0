"""Models: n-gram features, the classifier that scores with them, and the Lightning code that trains it.

Importing this package, ``features`` or ``classifier`` loads no torch: scoring needs none.
"""
