"""The main flow: observe, decide, admit, work, record, conclude."""
