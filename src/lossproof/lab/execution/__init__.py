"""Experiments on modes of execution, precision and backends."""
