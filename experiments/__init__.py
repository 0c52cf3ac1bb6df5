"""The command line: configuration, tracking, progress, figures and summary of experiments."""
