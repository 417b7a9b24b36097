"""Bundles: a folder that holds entries of the catalogue with all they came from, to be cited, checked and shared.

The archive is the truth. Every other file is made from it, and is compared with it again when a bundle is verified.
"""
