"""People without a server: tasks and answers are files in folders."""
