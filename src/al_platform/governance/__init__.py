"""Who may do what: grants derived from the pipelines, rendered as IAM policies, bucket settings and SQL."""
