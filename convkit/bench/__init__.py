"""Measuring for users."""
