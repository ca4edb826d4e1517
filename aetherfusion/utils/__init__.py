"""What no lesson opens: hardware, run states, history, files, download, drawn data, the judge."""
