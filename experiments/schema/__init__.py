"""The schema of the configuration: every option of every group, with its type and default.

The string under a field is its documentation; ``--help`` and the docs are generated from it. The
YAML files in ``conf/`` extend these classes, so that Hydra refuses what they do not know. What an
option of a group is, the first comment of its YAML file says.
"""
