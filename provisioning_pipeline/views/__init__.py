"""Read-only questions behind assets, pages and `status`."""
