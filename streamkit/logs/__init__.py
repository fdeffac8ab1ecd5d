"""Records of replies that any number of readers follow, in this process or another: ``publish`` and ``follow``."""
