"""Figures of the catalogue: functions that make a table, and functions that draw one.

A figure is drawn from a table, a list of rows, by matplotlib (PNG, SVG, PDF) or by plotly (HTML). Nothing here opens a
window, and the same table gives the same file.
"""
