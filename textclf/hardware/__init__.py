"""Arithmetic and memory: precision by machine, faster kernels on CPUs, and returning freed memory."""
