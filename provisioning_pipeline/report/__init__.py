"""From what the ledger holds to tables, Markdown and one HTML page. Writes only its own files."""
