"""What Azure ML takes of one run; beyond it a request fails, or the values are dropped.

https://learn.microsoft.com/azure/machine-learning/resource-limits-capacity
"""

MAX_NAMES = 50
"""Names of metrics, tables, images and matrices of one run, whichever of its processes logged them."""

MAX_NAME_LENGTH = 255
"""Characters of a name."""

MAX_COLUMNS = 15
"""Columns of a table."""

MAX_CELL_LENGTH = 1000
"""Characters of a table's cell.

None is published for it; this is the limit of a tag's value.
"""

MAX_ROWS = 200
"""Rows of a table in one request.

It takes 250, which the SDK fills with up to 44 metrics beside a table's rows.
"""
