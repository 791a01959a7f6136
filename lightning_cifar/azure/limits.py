"""What Azure ML takes of one run.

https://learn.microsoft.com/azure/machine-learning/resource-limits-capacity
"""

MAX_NAMES = 50
MAX_NAME_LENGTH = 255
MAX_COLUMNS = 15
# The limit of a tag's value; none is published for a cell of a table.
MAX_CELL_LENGTH = 1000
# 250 rows fit into one request, which the SDK fills with up to 44 metrics beside a table.
MAX_ROWS = 200
