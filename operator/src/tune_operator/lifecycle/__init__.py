"""The life of trials, as pure functions: observe, classify, decide, and what to build from it."""
