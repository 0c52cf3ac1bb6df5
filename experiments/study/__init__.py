"""The study: it searches for the best classifier of some images, within a budget."""
