"""The search side: blocks of kernels, the fitness, the optimizers and the schedules."""
