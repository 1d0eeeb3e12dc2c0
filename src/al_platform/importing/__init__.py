"""Data from outside: files of pages, labels and predictions, validated where they enter.

Rows that cannot be taken are set aside with a reason and counted; a file of which nothing can be taken is an error.
"""

from al_platform.importing.checks import Imported, check_labels, check_pages, check_predictions, unusable_truth
from al_platform.importing.files import (
    file_digest,
    read_batches,
    read_file,
    store_imported,
    table_digest,
    with_page_ids,
)
from al_platform.importing.logs import ImportedFile, check_log

__all__ = [
    "Imported",
    "ImportedFile",
    "check_labels",
    "check_log",
    "check_pages",
    "check_predictions",
    "file_digest",
    "read_batches",
    "read_file",
    "store_imported",
    "table_digest",
    "unusable_truth",
    "with_page_ids",
]
