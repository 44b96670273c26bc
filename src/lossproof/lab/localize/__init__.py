"""Evaluates a loss expression by expression, so that a finding can point at one."""
