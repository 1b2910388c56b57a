"""One remote system each: its protocol, paging, limits and retries, and its errors as ours."""
