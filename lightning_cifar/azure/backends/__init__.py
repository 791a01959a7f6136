"""The SDKs that carry metrics to Azure ML."""
