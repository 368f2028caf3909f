"""How fast the package is, beside a plain rendering of how the field's published code does the
same work.
"""
