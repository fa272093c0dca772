"""Weights on disk: find them, fetch them on request, check them, load them strictly.

Only ``checkpoint`` imports torch: it fills the networks.
"""
