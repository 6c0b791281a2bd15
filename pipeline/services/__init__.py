"""What the loop and the commands do with stages and store together: one file for each such job."""
