"""Submit jobs to Azure ML and follow their runs."""
