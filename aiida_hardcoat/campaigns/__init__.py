"""Campaigns: a grid of alloys read from a file, and how far it has come."""
