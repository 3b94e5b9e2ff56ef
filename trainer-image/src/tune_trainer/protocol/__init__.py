"""What the operator and the trainer must agree on: keys, manifests, exit records, messages, names.

Both sides import this package, so it depends on the standard library alone. Whoever writes a
trainer in another language needs these files and nothing else.
"""

VERSION = 1
"""Version of every document and message defined here. A reader refuses what it does not know."""
