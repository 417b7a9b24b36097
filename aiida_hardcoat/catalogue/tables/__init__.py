"""The three tables of Levämäki et al., npj Comput. Mater. 8, 17 (2022), from the entries of the catalogue.

Each module makes one table at one level of theory, a dict that is plain JSON, and draws it.
"""
