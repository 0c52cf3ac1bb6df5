"""The search side: blocks of kernels, the fitness, the optimisers and the schedules."""
