"""What the project costs and reaches: benchmarks, results, comparisons, targets.

They run the commands as a user does, each in a process of its own, so they import no command.
"""
