"""Label Studio as an annotation platform: projects made from taxonomies, pages pushed once, answers pulled."""
