"""What a model came from, where a page was used, and how a page is erased."""
