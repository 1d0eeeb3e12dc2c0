"""Data from outside: files of pages, labels and predictions, validated where they enter.

Rows that cannot be taken are set aside with a reason and counted; a file of which nothing can be taken is an error.
"""

from al_platform.importing.checks import Imported, check_labels, check_pages, check_predictions, unusable_truth
from al_platform.importing.files import read_file, store_imported, table_digest, with_page_ids

__all__ = [
    "Imported",
    "check_labels",
    "check_pages",
    "check_predictions",
    "read_file",
    "store_imported",
    "table_digest",
    "unusable_truth",
    "with_page_ids",
]
