"""All that knows Azure ML inside a job; usable with any LightningModule, without the rest of the package."""
